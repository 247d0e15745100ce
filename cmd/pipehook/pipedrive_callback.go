package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core/pipedrive"
)

// callbackPath is where Pipedrive sends back whoever has agreed to an app.
const callbackPath = "/pipedrive/callback"

const callbackWithin = 30 * time.Second

// callback takes the code of an app on the admin listener. It is open: what comes must have the state that connect gave
// out. Nothing of the query is shown or logged.
type callback struct {
	app    *pipedrive.OAuthAuthorizer
	states pipedrive.States
	log    *slog.Logger
	now    func() time.Time

	turn sync.Mutex // a state is good once
}

func (c *callback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	status, text := http.StatusOK, "pipehook is connected with Pipedrive. You can close this page; the terminal says which company it is."
	switch err := c.accept(r); {
	case errors.Is(err, errState):
		status, text = http.StatusForbidden, "This address is not good, or not any more. Run pipehook pipedrive connect and open the address that it prints."
	case err != nil:
		status, text = http.StatusBadGateway, "pipehook is not connected. The terminal in which you ran pipehook pipedrive connect says why; so does pipehook pipedrive status."
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer") // the address has the code in it
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n"))
}

func (c *callback) accept(r *http.Request) error {
	q := r.URL.Query()
	back := comeback{code: q.Get("code"), state: q.Get("state"), refused: q.Get("error")}
	if back.state == "" {
		return errState
	}
	// Whoever closes the page at once has agreed all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), callbackWithin)
	defer cancel()
	c.turn.Lock()
	p, err := take(ctx, c.states, back.state, c.now())
	c.turn.Unlock()
	if err == nil {
		err = p.exchange(ctx, c.app, c.states, back)
	}
	switch {
	case err == nil:
		c.log.Info("connected with Pipedrive")
	case errors.Is(err, errState):
		c.log.Warn("somebody called Pipedrive's callback with a state that is not good", "path", callbackPath)
	default:
		c.log.Error("could not connect with Pipedrive", "err", err)
	}
	return err
}

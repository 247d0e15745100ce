package main

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/pipehook/pipehook/core/pipedrive"
)

const (
	pendingName = "pipedrive.connect" // the state about a connection that was begun
	pendingLife = 10 * time.Minute
)

// pending is a connection that was begun. Of the state that comes back with the code only the hash is kept.
type pending struct {
	Hash    []byte    `json:"hash"`
	Until   time.Time `json:"until"`
	Outcome outcome   `json:"outcome,omitempty"`
	Error   string    `json:"error,omitempty"`
	Hint    string    `json:"hint,omitempty"`
}

type outcome string

// What became of a connection that was begun. Empty is that nothing has come.
const (
	stateTaken    outcome = "taken" // its state came and is good no more
	connectDone   outcome = "done"
	connectFailed outcome = "failed"
)

var errState = errors.New("the state is not the one that was given out, or was used before, or is older than 10 minutes")

// begin makes a state that comes back with the code. What was begun before is good no more.
func begin(ctx context.Context, states pipedrive.States, now time.Time) (state string, p pending, err error) {
	state = rand.Text()
	hash := sha256.Sum256([]byte(state))
	p = pending{Hash: hash[:], Until: now.Add(pendingLife)}
	return state, p, p.keep(ctx, states)
}

func (p *pending) keep(ctx context.Context, states pipedrive.States) error {
	text, err := json.Marshal(p)
	if err != nil {
		return err
	}
	return states.SetState(ctx, pendingName, text)
}

func loadPending(ctx context.Context, states pipedrive.States) (p pending, err error) {
	text, err := states.State(ctx, pendingName)
	if err == nil && text != nil && json.Unmarshal(text, &p) != nil {
		p = pending{} // of another version
	}
	return p, err
}

// take uses the state up.
func take(ctx context.Context, states pipedrive.States, state string, now time.Time) (pending, error) {
	p, err := loadPending(ctx, states)
	if err != nil {
		return p, err
	}
	hash := sha256.Sum256([]byte(state))
	if subtle.ConstantTimeCompare(hash[:], p.Hash) != 1 || p.Outcome != "" || !now.Before(p.Until) {
		return p, errState
	}
	p.Outcome = stateTaken
	return p, p.keep(ctx, states)
}

// exchange turns the code into tokens and keeps what became of it.
func (p *pending) exchange(ctx context.Context, app *pipedrive.OAuthAuthorizer, states pipedrive.States, back comeback) error {
	err := back.refusal()
	if err == nil {
		_, err = app.Exchange(ctx, back.code)
	}
	err = explainConnect(err)
	p.Outcome = connectDone
	if err == nil {
		noteRenewal(ctx, states, nil) // what failed before is over
	} else {
		p.Outcome, p.Error, p.Hint = connectFailed, err.Error(), hintOf(err)
	}
	return errors.Join(err, p.keep(context.WithoutCancel(ctx), states))
}

// comeback is what Pipedrive sends back with whoever was asked.
type comeback struct{ code, state, refused string }

// parseComeback reads the address that somebody was sent back to, or the code alone.
func parseComeback(text string) (comeback, error) {
	text = strings.TrimSpace(text)
	if !strings.Contains(text, "=") && !strings.Contains(text, "://") {
		if text == "" || len(text) > 1024 || strings.ContainsAny(text, " \t\r\n") {
			return comeback{}, usagef("paste the whole address that the browser shows at the end", "this is no code")
		}
		return comeback{code: text}, nil
	}
	if at := strings.IndexByte(text, '?'); at >= 0 {
		text = text[at+1:]
	}
	text, _, _ = strings.Cut(text, "#")
	q, err := url.ParseQuery(text)
	if err != nil || q.Get("code") == "" && q.Get("error") == "" {
		return comeback{}, usagef("paste the address that the browser shows after you have agreed", "there is no code in this address")
	}
	if q.Get("state") == "" {
		return comeback{}, usagef("open the address that pipehook pipedrive connect prints, and no other", "there is no state in this address")
	}
	return comeback{q.Get("code"), q.Get("state"), q.Get("error")}, nil
}

func (b comeback) refusal() error {
	switch {
	case b.refused == "access_denied" || b.refused == "user_denied":
		return &hinted{errors.New("whoever was asked did not agree"), "pipehook pipedrive connect asks again"}
	case b.refused != "" || b.code == "":
		return &hinted{errors.New("Pipedrive sent no code"), "check the app in Pipedrive's developer hub, then: pipehook pipedrive connect"}
	}
	return nil
}

// explainConnect adds to why there are no tokens what to type next.
func explainConnect(err error) error {
	e, ok := errors.AsType[*pipedrive.Error](err)
	if !ok {
		return err
	}
	switch e.Reason {
	case pipedrive.Disconnected:
		return &hinted{errors.New("pipedrive: the code is not accepted: it is good once and for five minutes, and only with the client_id and redirect_url that it was asked for with"),
			"pipehook pipedrive connect, and open the new address"}
	case pipedrive.Unauthorized:
		return &hinted{fmt.Errorf("pipedrive: the app is not accepted (%d)", e.Status), "check pipedrive.oauth.client_id and client_secret, then: pipehook pipedrive connect"}
	case pipedrive.Invalid:
		return &hinted{err, "compare [pipedrive.oauth] with the app in Pipedrive's developer hub, then: pipehook pipedrive connect"}
	}
	return &hinted{err, "pipehook pipedrive connect"}
}

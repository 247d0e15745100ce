package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/pipehook/pipehook/core/config"
)

// pluginsPath is where the process that serves says how its plugins do.
const pluginsPath = "/api/v1/plugins"

// pluginStates is its answer. Names are only added.
type pluginStates struct {
	Plugins []pluginStateJSON `json:"plugins"`
}

type pluginStateJSON struct {
	Key       string    `json:"key"`  // where the configuration names it, such as listener[0]; the first of several such places
	Kind      string    `json:"kind"` // listener, stage or source
	Name      string    `json:"name"` // of that
	File      string    `json:"file"`
	SHA256    string    `json:"sha256,omitempty"`   // of what runs
	Plugin    string    `json:"plugin,omitempty"`   // what it calls itself
	Version   string    `json:"version,omitempty"`  // likewise
	Contract  string    `json:"contract,omitempty"` // the protocol that both know
	Does      []string  `json:"does,omitempty"`
	State     string    `json:"state"` // starting, running, waiting (for its next start) or stopped
	PID       int       `json:"pid,omitempty"`
	Since     time.Time `json:"since,omitzero"` // it is in that state
	Restarts  int       `json:"restarts"`
	Error     string    `json:"error,omitempty"` // why it does not run; while it does, why it last did not
	ErrorAt   time.Time `json:"errorAt,omitzero"`
	Refused   string    `json:"refused,omitempty"` // why the file that is there now is not used
	RefusedAt time.Time `json:"refusedAt,omitzero"`
	Again     time.Time `json:"again,omitzero"` // when it is started next
}

// states are those of all plugins that run or should.
func (s *pluginSet) states() []pluginStateJSON {
	all := []pluginStateJSON{}
	for _, r := range s.all() {
		is := r.plugin().State()
		refused, since := r.refused()
		if refused == "" {
			since = time.Time{}
		}
		all = append(all, pluginStateJSON{
			Key: r.stands().place(), Kind: is.Kind, Name: is.Name, File: is.Path, SHA256: is.SHA256, Plugin: is.Plugin, Version: is.Version, Contract: is.Contract,
			Does: kindsAmong(is.Does), State: is.Word, PID: is.PID, Since: is.Since.UTC(), Restarts: is.Restarts,
			Error: is.Err, ErrorAt: is.ErrAt.UTC(), Refused: refused, RefusedAt: since.UTC(), Again: is.Again.UTC(),
		})
	}
	slices.SortFunc(all, func(a, b pluginStateJSON) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name), cmp.Compare(a.Key, b.Key))
	})
	return all
}

// runningStates asks the process that serves this configuration. The error says why nothing is known.
func runningStates(ctx context.Context, conf *config.Config) ([]pluginStateJSON, error) {
	if conf.Admin.Listen == "" {
		return nil, errors.New("admin.listen is not set, so nobody can be asked")
	}
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+conf.Admin.Listen+pluginsPath, nil)
	if err != nil {
		return nil, err
	}
	if conf.Admin.Token != "" {
		req.Header.Set("Authorization", "Bearer "+string(conf.Admin.Token))
	}
	// No proxy: it is near.
	client := &http.Client{Transport: &http.Transport{}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return nil, fmt.Errorf("pipehook does not run here (nobody answers at admin.listen, %s)", conf.Admin.Listen)
	}
	defer func() { _ = resp.Body.Close() }()
	switch resp.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized:
		return nil, fmt.Errorf("who answers at admin.listen, %s, has another admin.token", conf.Admin.Listen)
	default:
		return nil, fmt.Errorf("who answers at admin.listen, %s, is no pipehook that knows of this: it says %s", conf.Admin.Listen, resp.Status)
	}
	var answer pluginStates
	if err := json.NewDecoder(http.MaxBytesReader(nil, resp.Body, 16<<20)).Decode(&answer); err != nil {
		return nil, fmt.Errorf("what is answered at admin.listen, %s, can't be read: %w", conf.Admin.Listen, err)
	}
	return answer.Plugins, nil
}

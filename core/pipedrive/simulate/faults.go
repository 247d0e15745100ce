package simulate

import (
	"context"
	"math/rand"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The kinds of faults of the API, beside a status as text, such as 503.
const (
	FaultBlocked = "blocked" // the page of 403 that stands before the API
	FaultSlow    = "slow"    // the answer takes Delay longer
	FaultCut     = "cut"     // the answer ends in the middle of its JSON
	FaultRepeat  = "repeat"  // a list gives the page before once more, and leads there
)

// Fault is something that goes wrong with requests to the API.
type Fault struct {
	Kind  string        `json:"kind"`
	Path  string        `json:"path,omitempty"`  // only for paths that begin so
	Next  int           `json:"next,omitempty"`  // only for so many requests; 0 for all until it is cleared
	Rate  float64       `json:"rate,omitempty"`  // of the requests that fit, so many are hit; 0 for all
	Delay time.Duration `json:"delay,omitempty"` // in nanoseconds as JSON
}

// HookFaults is what goes wrong with webhooks, as shares of 1.
type HookFaults struct {
	Drop      float64 `json:"drop"`      // never sent, nor counted as failed
	Reorder   float64 `json:"reorder"`   // sent later than those that follow
	Duplicate float64 `json:"duplicate"` // sent twice

	Hold time.Duration `json:"hold,omitempty"` // how late at most a delivery comes that is sent later; 0 for 2 s. In nanoseconds as JSON
}

// Faults is what goes wrong on demand. It is safe for many goroutines.
type Faults struct {
	mu    sync.Mutex
	rand  *rand.Rand
	api   []*Fault
	hooks HookFaults
}

func newFaults(seed int64) *Faults { return &Faults{rand: rand.New(rand.NewSource(seed))} }

// Add lets requests fail from now on.
func (f *Faults) Add(fault Fault) error {
	status, err := strconv.Atoi(fault.Kind)
	known := slices.Contains([]string{FaultBlocked, FaultSlow, FaultCut, FaultRepeat}, fault.Kind)
	if !known && (err != nil || status < 400 || status > 599) {
		return invalidf("kind: must be a status from 400 to 599, blocked, slow, cut or repeat")
	}
	if fault.Rate < 0 || fault.Rate > 1 || fault.Next < 0 || fault.Delay < 0 {
		return invalidf("rate must be from 0 to 1, next and delay 0 or more")
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.api = append(f.api, &fault)
	return nil
}

// Clear ends all faults, those of webhooks too.
func (f *Faults) Clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.api, f.hooks = nil, HookFaults{}
}

// SetHooks says what goes wrong with webhooks from now on.
func (f *Faults) SetHooks(h HookFaults) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hooks = h
}

// Hooks is what goes wrong with webhooks.
func (f *Faults) Hooks() HookFaults {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hooks
}

// take is the fault that hits a request, or nil.
func (f *Faults) take(_, path string) *Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	for i, fault := range f.api {
		if !strings.HasPrefix(path, fault.Path) || fault.Rate > 0 && f.rand.Float64() >= fault.Rate {
			continue
		}
		if fault.Next > 0 {
			if fault.Next--; fault.Next == 0 {
				f.api = slices.Delete(slices.Clone(f.api), i, i+1)
			}
		}
		hit := *fault
		return &hit
	}
	return nil
}

func (f *Faults) list() []Fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := make([]Fault, len(f.api))
	for i, fault := range f.api {
		all[i] = *fault
	}
	return all
}

func (f *Fault) repeats() bool { return f != nil && f.Kind == FaultRepeat }
func (f *Fault) cuts() bool    { return f != nil && f.Kind == FaultCut }

// faultBefore is what a fault answers in place of the API.
func (s *Server) faultBefore(ctx context.Context, f *Fault) *reply {
	if f == nil || f.repeats() || f.cuts() {
		return nil
	}
	if err := s.wait(ctx, f.Delay); err != nil {
		return failed(http.StatusServiceUnavailable, "the client is gone", "")
	}
	switch f.Kind {
	case FaultSlow:
		return nil
	case FaultBlocked:
		return blocked()
	case "401":
		return unauthorized()
	}
	status, _ := strconv.Atoi(f.Kind)
	return failed(status, http.StatusText(status), "a fault that was asked for")
}

// wait is a pause that ends with the client's patience.
func (s *Server) wait(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// cutter sends the first half of an answer that is written at once. Its length says nothing of that, as when a proxy
// gave up.
type cutter struct{ http.ResponseWriter }

func (w cutter) Write(text []byte) (int, error) {
	_, err := w.ResponseWriter.Write(text[:len(text)/2])
	return len(text), err
}

// repeat has a list go round in a circle: the answer leads to where it was asked for.
func (c *call) repeat() {
	do := c.do
	c.do = func() *reply {
		a := do()
		body, _ := a.body.(map[string]any)
		more, _ := body["additional_data"].(map[string]any)
		if _, has := more["next_cursor"]; has {
			more["next_cursor"] = c.URL.Query().Get("cursor")
			if more["next_cursor"] == "" {
				more["next_cursor"] = (&cursor{}).String()
			}
		}
		if paging, has := more["pagination"].(map[string]any); has {
			paging["more_items_in_collection"], paging["next_start"] = true, paging["start"]
		}
		return a
	}
}

package jshost_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost"
	"github.com/pipehook/pipehook/core/jshost/engine"
)

// handed are n events, the first of which is 0.
func handed(t *testing.T, n int) []core.Delivery {
	t.Helper()
	all := make([]core.Delivery, n)
	for i := range all {
		all[i].Event = sample(t)
		all[i].Event.ID = fmt.Sprint(i)
	}
	return all
}

func yes(int) bool { return true }

func TestABatchRunsInOrderAndSaysWhichVersionRan(t *testing.T) {
	program := func(word string) *jshost.Program {
		_, p, err := compile(t, "it.js", "export default (event) => { console.log('"+word+"', event.id); if (event.id === '2') throw new Error('no') }")
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	var said []string
	first, second := program("one"), program("two")
	s := jshost.NewScript("it", first, 1, jshost.Options{Said: func(l jshost.Line) { said = append(said, l.Text) }})
	defer s.Close()
	var codes, failed []string
	s.HandleBatch(t.Context(), time.Second, handed(t, 4), yes, func(i int, out core.Outcome) {
		codes = append(codes, out.Code)
		if out.Err != nil {
			failed = append(failed, fmt.Sprint(i))
		}
		if i == 1 {
			s.Swap(second)
		}
	})
	if got, want := strings.Join(said, ", "), "one 0, one 1, two 2, two 3"; got != want {
		t.Errorf("said %s, want %s", got, want)
	}
	if want := []string{first.Hash(), first.Hash(), second.Hash(), second.Hash()}; !slices.Equal(codes, want) || strings.Join(failed, " ") != "2" {
		t.Errorf("versions %v, want %v; %v failed, want 2", codes, want, failed)
	}
}

func TestABatchHereIsCalledBackToTheLastMoment(t *testing.T) {
	_, p, err := compile(t, "it.js", "export default (event) => { console.log(event.id) }")
	if err != nil {
		t.Fatal(err)
	}
	var said []string
	s := jshost.NewScript("it", p, 1, jshost.Options{Said: func(l jshost.Line) { said = append(said, l.Text) }})
	defer s.Close()
	s.HandleBatch(t.Context(), time.Second, handed(t, 5), func(i int) bool { return len(said) < 2 && i == len(said) }, func(int, core.Outcome) {})
	if got := strings.Join(said, " "); got != "0 1" {
		t.Errorf("%s ran, want the first two", got)
	}
}

func TestAStuckEventOfABatchHasItsOwnDeadline(t *testing.T) {
	_, p, err := compile(t, "it.js", "export default (event) => { if (event.id === '1') for (;;); }")
	if err != nil {
		t.Fatal(err)
	}
	s := jshost.NewScript("it", p, 1, jshost.Options{})
	defer s.Close()
	var came []string
	s.HandleBatch(t.Context(), 200*time.Millisecond, handed(t, 3), yes, func(_ int, out core.Outcome) {
		word := "well"
		if out.Err != nil && strings.Contains(out.Err.Error(), "deadline of 200ms exceeded") {
			word = "late"
		}
		came = append(came, word)
	})
	if got := strings.Join(came, " "); got != "well late well" {
		t.Errorf("the events ended %s", got)
	}
}

// carrier is a Runner that stands for another process.
type carrier struct{ portions []int }

func (c *carrier) Run(_ context.Context, calls []engine.Call, done func(int, engine.Result)) {
	c.portions = append(c.portions, len(calls))
	for i := range calls {
		done(i, engine.Result{Hash: calls[i].Event.ID})
	}
}

func (c *carrier) Close() {}

func TestAnotherProcessIsSentSomeEventsAhead(t *testing.T) {
	for _, test := range []struct{ given, begin, ran int }{{40, 40, 40}, {40, 20, 20}, {3, 3, 3}, {3, 0, 0}} {
		t.Run(fmt.Sprintf("of %d events %d may begin", test.given, test.begin), func(t *testing.T) {
			_, p, err := compile(t, "it.js", "export default () => {}")
			if err != nil {
				t.Fatal(err)
			}
			s, c := jshost.NewScript("it", p, 1, jshost.Options{}), &carrier{}
			defer s.Close()
			s.SwapRunner("other", c)
			var ended []int
			s.HandleBatch(t.Context(), time.Second, handed(t, test.given), func(i int) bool { return i < test.begin }, func(i int, out core.Outcome) {
				if out.Code != fmt.Sprint(i) {
					t.Errorf("event %d has the result of %s", i, out.Code)
				}
				ended = append(ended, i)
			})
			if len(ended) != test.ran || !slices.IsSorted(ended) || test.given == 40 && slices.Max(c.portions) != 16 {
				t.Errorf("%v ended, in portions of %v", ended, c.portions)
			}
		})
	}
}

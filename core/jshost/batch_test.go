package jshost_test

import (
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
	program := func(word string) engine.Code {
		return compile(t, "export default (event) => { console.log('"+word+"', event.id); if (event.id === '2') throw new Error('no') }")
	}
	var said []string
	first, second := program("one"), program("two")
	s := start(t, first, false, jshost.Options{Said: func(l jshost.Line) { said = append(said, l.Text) }})
	defer s.Close()
	var codes, failed []string
	s.HandleBatch(t.Context(), time.Second, handed(t, 4), yes, func(i int, out core.Outcome) {
		codes = append(codes, out.Code)
		if out.Err != nil {
			failed = append(failed, fmt.Sprint(i))
		}
		if i == 1 {
			if err := s.Swap(second); err != nil {
				t.Error(err)
			}
		}
	})
	if got, want := strings.Join(said, ", "), "one 0, one 1, two 2, two 3"; got != want {
		t.Errorf("said %s, want %s", got, want)
	}
	if want := []string{first.Hash, first.Hash, second.Hash, second.Hash}; !slices.Equal(codes, want) || strings.Join(failed, " ") != "2" {
		t.Errorf("versions %v, want %v; %v failed, want 2", codes, want, failed)
	}
}

func TestABatchHereIsCalledBackToTheLastMoment(t *testing.T) {
	code := compile(t, "export default (event) => { console.log(event.id) }")
	var said []string
	s := start(t, code, false, jshost.Options{Said: func(l jshost.Line) { said = append(said, l.Text) }})
	defer s.Close()
	s.HandleBatch(t.Context(), time.Second, handed(t, 5), func(i int) bool { return len(said) < 2 && i == len(said) }, func(int, core.Outcome) {})
	if got := strings.Join(said, " "); got != "0 1" {
		t.Errorf("%s ran, want the first two", got)
	}
}

func TestAStuckEventOfABatchHasItsOwnDeadline(t *testing.T) {
	code := compile(t, "export default (event) => { if (event.id === '1') for (;;); }")
	s := start(t, code, false, jshost.Options{})
	defer s.Close()
	var came []string
	s.HandleBatch(t.Context(), time.Second, handed(t, 3), yes, func(_ int, out core.Outcome) {
		word := "well"
		if out.Err != nil && strings.Contains(out.Err.Error(), "deadline of 1s exceeded") {
			word = "late"
		}
		came = append(came, word)
	})
	if got := strings.Join(came, " "); got != "well late well" {
		t.Errorf("the events ended %s", got)
	}
}

func TestAnotherProcessIsSentSomeEventsAhead(t *testing.T) {
	s := start(t, compile(t, "export default () => {}"), true, jshost.Options{})
	for _, test := range []struct{ given, begin, first int }{{70, 70, 32}, {70, 40, 32}, {3, 3, 3}, {3, 0, 0}} {
		t.Run(fmt.Sprintf("of %d events %d may begin", test.given, test.begin), func(t *testing.T) {
			var ended []int
			begun, first := 0, 0
			s.HandleBatch(t.Context(), time.Minute, handed(t, test.given), func(i int) bool {
				if i < test.begin {
					begun++
				}
				return i < test.begin
			}, func(i int, out core.Outcome) {
				if out.Err != nil {
					t.Error(out.Err)
				}
				if ended = append(ended, i); len(ended) == 1 {
					first = begun
				}
			})
			if len(ended) != test.begin || !slices.IsSorted(ended) || first != test.first {
				t.Errorf("%v ended, and %d had begun when the first did", ended, first)
			}
		})
	}
}

package store

import (
	"slices"
	"testing"

	"github.com/pipehook/pipehook/core"
)

// beside is a database on which another process lives, or none.
type beside struct {
	backend
	others bool
}

func (b *beside) write(batch *batch) error {
	batch.others = b.others
	for _, p := range batch.plans {
		p.accept(1)
	}
	return nil
}

// notes is an intake that writes down what it is told.
type notes struct {
	noIntake
	told []string
}

func (n *notes) Return(string, bool, bool) { n.told = append(n.told, "return") }
func (n *notes) Look(again bool) {
	n.told = append(n.told, map[bool]string{true: "look again", false: "look"}[again])
}

// What another process stored before may be on nobody's way: the wake-up for it can be lost.
func TestACommitBesideAnotherProcessLooksBeforeItIsHandedOver(t *testing.T) {
	db, in := &beside{others: true}, &notes{}
	s := &Store{backend: db, intake: in, holds: holds{now: clocks}}
	s.holds.all()
	commit := func(want ...string) {
		t.Helper()
		in.told = nil
		ev := &core.Event{ID: "e", Plan: core.Plan{Store: true, Listeners: []string{"audit"}}}
		p := &plan{ev: ev, held: []bool{false}, done: make(chan struct{})}
		if err := s.write(&batch{plans: []*plan{p}}, []*plan{p}); err != nil {
			t.Fatal(err)
		}
		if !slices.Equal(in.told, want) {
			t.Errorf("told %v, want %v", in.told, want)
		}
	}
	commit("look", "return")
	commit("look", "return")
	db.others = false
	commit("look again", "return") // the first one alone
	commit("return")
	db.others = true
	if err := s.write(&batch{attempts: make([]core.Attempt, 1)}, nil); err != nil || len(in.told) != 1 {
		t.Errorf("results alone make a look: %v (%v)", in.told, err)
	}
}

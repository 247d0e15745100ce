//go:build unix

package worker

import (
	"io"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/worker/message"
)

// mad is the parent's side of a child that may say anything, with a batch of three calls that runs.
// What the parent says goes to a pipe.
func mad(t *testing.T) (c *child, b *batch, heard *io.PipeReader) {
	t.Helper()
	heard, answers := io.Pipe()
	c = newChild(New(Options{Name: "it", Host: silent{}}))
	c.out, c.proc = newOutbox(answers), nobody()
	b = &batch{calls: make([]engine.Call, 3), outcomes: make(chan outcome, 4), ctx: t.Context()}
	for i := range b.calls {
		b.calls[i] = engine.Call{Event: &core.Event{ID: "1"}, Timeout: time.Hour}
	}
	if !c.add(b) {
		t.Fatal("the batch is not taken")
	}
	t.Cleanup(func() {
		_ = heard.Close()
		c.finish(&end{retired: true})
		c.toChild.Wait()
	})
	return c, b, heard
}

func TestAChildThatReadsNoAnswersIsNotHeardForEver(t *testing.T) {
	for name, batch := range map[string]uint64{"questions that are answered": 1, "questions that are refused": 9} {
		t.Run(name, func(t *testing.T) {
			c, _, heard := mad(t)
			before := runtime.NumGoroutine()
			const many = 300_000 // answers of several times what may wait to be written
			var taken atomic.Int64
			over := make(chan error, 1)
			go func() {
				for i := range uint64(many) {
					if err := c.take(&message.Up{Question: &message.Question{Id: i + 1, Batch: batch, Method: askKV, Body: []byte("{}")}}); err != nil {
						over <- err
						return
					}
					taken.Add(1)
				}
				over <- nil
			}()
			for last := int64(-1); last != taken.Load(); time.Sleep(200 * time.Millisecond) {
				last = taken.Load()
			}
			if more := runtime.NumGoroutine() - before; more > maxAsking+100 {
				t.Errorf("%d goroutines wait to answer %d questions", more, taken.Load())
			}
			_ = heard.Close()
			if err := <-over; err != nil {
				t.Error(err)
			}
		})
	}
}

func TestAChildCanNotMakeItsTimeLonger(t *testing.T) {
	c, b, _ := mad(t)
	load := func(over bool) error {
		return c.take(&message.Up{Loading: &message.Loading{Batch: b.id, Over: over}})
	}
	for range 2 { // a call that broke its runtime has the next one load the file again
		if load(false) != nil || load(true) != nil {
			t.Fatal("it can't load its file")
		}
		due := b.due
		if err := load(false); err == nil {
			t.Errorf("a call loads twice, and has %s more", b.due.Sub(due))
		}
		if err := c.take(&message.Up{Result: &message.Result{Batch: b.id, Call: uint32(b.next)}}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestAChildSaysNothingLong(t *testing.T) {
	long := strings.Repeat("x", 2<<20)
	for name, m := range map[string]*message.Up{
		"a line":    {Line: []byte(`{"msg":"` + long + `"}`)},
		"a fault":   {Fault: long},
		"a value":   {Result: &message.Result{Batch: 1, Value: []byte(long)}},
		"a failure": {Result: &message.Result{Batch: 1, Failure: &message.Failure{Msg: long}}},
	} {
		c, _, _ := mad(t)
		if err := c.take(m); err == nil {
			t.Errorf("%s of 2 MiB is taken", name)
		}
	}
}

func TestALineIsOfTheEventThatSaidItAlsoWhenItComesAfterTheEndOfTheProcess(t *testing.T) {
	c, b, _ := mad(t)
	var lines []engine.Line
	c.process.o.Said = func(l engine.Line) { lines = append(lines, l) }
	c.finish(&end{late: b})
	for _, event := range []string{"1", "2"} { // the other never ran here
		if err := c.take(&message.Up{Line: []byte(`{"event":"` + event + `","msg":"hello"}`)}); err != nil {
			t.Fatal(err)
		}
	}
	if len(lines) != 2 || lines[0].Event != "1" || lines[1].Event != "" {
		t.Errorf("the lines are %+v", lines)
	}
}

func TestAChildThatIsReadyWhenItIsNotNeededAnyMoreHarmsNobody(t *testing.T) {
	c, b, _ := mad(t)
	c.finish(&end{retired: true})
	if err := c.serve(time.Now()); err != nil || c.served() {
		t.Errorf("it serves: %v, %v", c.served(), err)
	}
	if o := <-b.outcomes; o.end == nil {
		t.Error("its call is not told of the end")
	}
	ready, _, _ := mad(t)
	if first, second := ready.serve(time.Now()), ready.serve(time.Now()); first != nil || second == nil {
		t.Errorf("ready %v, and once more %v", first, second)
	}
}

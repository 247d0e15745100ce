//go:build unix

package worker_test

import (
	"testing"
	"time"
)

func TestAHandlerRunsInAnotherProcess(t *testing.T) {
	p, j := start(t, `export default (event) => { console.log(event.id, event.current.title) }`, nil)
	began := time.Now()
	if r := run(t, p, sample(t, "1"), time.Second); r.Err != nil || r.Hash == "" {
		t.Fatalf("%+v", r)
	}
	t.Log(j.said(), time.Since(began), p.Pid())
}

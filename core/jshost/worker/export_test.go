//go:build unix

package worker

import (
	"encoding/json"
	"os"
	"os/exec"

	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/worker/message"
)

// OnConfined has f called in a child when its limits are in force, for the script of the name.
func OnConfined(name string, f func(secrets map[string]string, say func(string))) {
	before := confined
	confined = func(script *message.Script, out *outbox) {
		before(script, out)
		if script.GetName() == name {
			f(script.GetSecrets(), func(text string) {
				line, _ := json.Marshal(engine.Line{Msg: text, Text: text}) // of a string
				_ = out.send(&message.Up{Line: line})                       // seen by the test
			})
		}
	}
}

// Pid is that of the child, 0 when none runs.
func (p *Process) Pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child == nil {
		return 0
	}
	p.child.mu.Lock()
	defer p.child.mu.Unlock()
	if p.child.proc == nil {
		return 0
	}
	return p.child.proc.pid()
}

// nobody is a process that has ended.
func nobody() *proc {
	ours, its, err := socketPair()
	if err != nil {
		panic(err)
	}
	_ = its.Close()
	self, _ := os.FindProcess(os.Getpid())
	_ = self.Release()
	return &proc{socket: ours, cmd: &exec.Cmd{Process: self}, ended: make(chan struct{})}
}

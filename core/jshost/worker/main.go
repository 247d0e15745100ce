package worker

import (
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/dlclark/regexp2/v2"

	"github.com/pipehook/pipehook/core/jshost/engine"
	"github.com/pipehook/pipehook/core/jshost/worker/message"
)

// maxGoStack ends a native function that calls itself, which parsers and JSON do as deep as a text.
const maxGoStack = 64 << 20

// garbage is how much of it there may be, in percent of what is in use, while memory is not short.
// Most of what a call makes is garbage soon: with Go's own 100 it takes a fifth longer.
const garbage = 400

// confined is called when the limits are in force, with what tests want to be tried then.
var confined = func(*message.Script, *outbox) {}

// Main serves and does not return, if this process was started as a child; else it does nothing. A
// program calls it before anything else, and so does TestMain.
func Main() {
	if len(os.Args) != 2 || os.Args[0] != servesAs && os.Args[0] != compilesAs {
		return
	}
	disown()
	if err := serve(os.Args[0] == compilesAs); !hungUp(err) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve does what the parent says until it hangs up, or the error is another.
func serve(compiles bool) error {
	socket, err := parent()
	if err != nil {
		return err
	}
	in, out := newInbox(socket), newOutbox(socket)
	first, err := in.down()
	if err != nil {
		return err
	}
	setup := first.GetSetup()
	if setup == nil {
		return errors.New("the first message says nothing of limits")
	}
	w, err := settle(setup)
	if err != nil {
		return err
	}
	go w.run() // ends with the process
	w.begin()
	if compiles {
		return serveCompiler(in, out)
	}
	s, err := load(in, out, w, int(setup.GetSize()))
	if err != nil {
		return err
	}
	w.end()
	return s.listen(in)
}

// settle makes what is needed later and then gives up the means for more.
func settle(setup *message.Setup) (*watch, error) {
	ignoreSignals()
	// One more than scripts: while native functions work, somebody must hear the parent.
	runtime.GOMAXPROCS(max(min(runtime.NumCPU(), int(setup.GetSize())+1), 2))
	if setup.GetZoned() {
		_ = os.Setenv("TZ", setup.GetZone())
	}
	_, _ = time.Now().Zone() // reads the file of the zone
	os.Clearenv()
	// A match that takes too long must end the call; here the parent sees to that.
	regexp2.DefaultMatchTimeout = math.MaxInt64
	debug.SetMaxStack(maxGoStack)
	debug.SetGCPercent(garbage)
	w := newWatch(setup.GetMemory())
	return w, confine(setup.GetMemory(), setup.GetReads())
}

// load takes the script and makes what runs its calls.
func load(in *inbox, out *outbox, w *watch, size int) (*server, error) {
	m, err := in.down()
	if err != nil {
		return nil, err
	}
	script := m.GetScript()
	if script == nil {
		return nil, errors.New("the second message is no script")
	}
	confined(script, out)
	s := newServer(out, w)
	code := engine.Code{Path: script.GetPath(), Hash: script.GetHash(), Text: script.GetText()}
	program, err := engine.Compile(code)
	if err == nil && !program.Handles() {
		err = fmt.Errorf("%s exports no function to call", code.Path)
	}
	if err != nil {
		_ = out.send(&message.Up{Refused: failure(err)}) // the end says as much
		return nil, err
	}
	s.pool = engine.NewPool(program, s.options(script, size))
	return s, out.send(&message.Up{Ready: true})
}

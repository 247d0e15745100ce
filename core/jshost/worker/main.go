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

// confined is called when the limits are in force, with what tests want to be tried then.
var confined = func(*message.Script, *outbox) {}

// Main serves and does not return, if this process was started as a child; else it does nothing. A
// program calls it before anything else, and so does TestMain.
func Main() {
	if len(os.Args) != 2 || os.Args[0] != servesAs && os.Args[0] != compilesAs {
		return
	}
	disown()
	if err := serve(os.Args[0] == compilesAs); err != nil && !hungUp(err) {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// serve does what the parent says until it hangs up.
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
	if err := settle(setup); err != nil {
		return err
	}
	if compiles {
		return serveCompiler(in, out)
	}
	return serveScript(in, out, int(setup.GetSize()))
}

// settle makes what is needed later and then gives up the means for more.
func settle(setup *message.Setup) error {
	runtime.GOMAXPROCS(min(runtime.NumCPU(), int(setup.GetSize())+1))
	if setup.GetZoned() {
		_ = os.Setenv("TZ", setup.GetZone())
	}
	_, _ = time.Now().Zone() // reads the file of the zone
	os.Clearenv()
	// A match that takes too long must end the call; here the parent sees to that.
	regexp2.DefaultMatchTimeout = math.MaxInt64
	debug.SetMaxStack(maxGoStack)
	watch := newWatch(setup.GetMemory())
	if err := confine(setup.GetMemory(), setup.GetReads()); err != nil {
		return err
	}
	go watch.run() // ends with the process
	return nil
}

// serveScript runs the script's calls.
func serveScript(in *inbox, out *outbox, size int) error {
	m, err := in.down()
	if err != nil {
		return err
	}
	script := m.GetScript()
	if script == nil {
		return errors.New("the second message is no script")
	}
	confined(script, out)
	s := newServer(out)
	code := engine.Code{Path: script.GetPath(), Hash: script.GetHash(), Text: script.GetText()}
	program, err := engine.Compile(code)
	if err == nil && !program.Handles() {
		err = fmt.Errorf("%s exports no function to call", code.Path)
	}
	if err != nil {
		return out.send(&message.Up{Refused: failure(err)})
	}
	s.pool = engine.NewPool(program, s.options(script, size))
	if err := out.send(&message.Up{Ready: true}); err != nil {
		return err
	}
	return s.listen(in)
}

package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/mattn/go-isatty"
)

const (
	barWidth = 24
	barFrom  = 300 * time.Millisecond // shorter work needs no bar
	barEvery = 100 * time.Millisecond
	sayEvery = 2 * time.Second // where there is no terminal
)

// progress shows how far long work has come: as a bar on a terminal, else as a line now and then.
type progress struct {
	w        io.Writer // nil shows nothing
	terminal bool
	done     string // what has become of each, such as "replayed"
	total    int    // 0 when it is not known
	now      func() time.Time

	began, last time.Time
	drawn       bool // the bar stands on the terminal
}

// newProgress begins now. With --json nothing is shown: a program reads along.
func (c *cli) newProgress(done string, total int) *progress {
	p := &progress{w: c.stderr, terminal: movable(c.stderr, c.environ), done: done, total: total, now: time.Now}
	if c.json {
		p.w = nil
	}
	return p.begin()
}

func (p *progress) begin() *progress {
	p.began = p.now()
	p.last = p.began
	return p
}

// movable reports whether lines that were written can be overwritten.
func movable(w io.Writer, environ []string) bool {
	f, ok := w.(*os.File)
	if !ok || !isatty.IsTerminal(f.Fd()) {
		return false
	}
	for _, v := range environ {
		if v == "TERM=dumb" {
			return false
		}
	}
	return true
}

// at says that n are done.
func (p *progress) at(n int) {
	now := p.now()
	every, ran := sayEvery, now.Sub(p.began)
	if p.terminal {
		every = barEvery
	}
	if p.w == nil || now.Sub(p.last) < every || p.terminal && ran < barFrom {
		return
	}
	p.last = now
	if !p.terminal {
		fmt.Fprintln(p.w, p.text(n, ran))
		return
	}
	bar := ""
	if p.total > 0 {
		full := min(barWidth*n/p.total, barWidth)
		bar = fmt.Sprintf("[%s%s] %3d%%  ", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), min(100*n/p.total, 100))
	}
	fmt.Fprint(p.w, "\r", bar, p.text(n, ran), "\x1b[K")
	p.drawn = true
}

func (p *progress) text(n int, ran time.Duration) string {
	rate := float64(n) / ran.Seconds()
	if p.total == 0 {
		return fmt.Sprintf("%d %s, %.0f/s", n, p.done, rate)
	}
	left := "?"
	if n > 0 { // more may have come since they were counted
		left = (time.Duration(float64(max(p.total-n, 0))/rate) * time.Second).String()
	}
	return fmt.Sprintf("%d of %d %s, %.0f/s, %s left", n, max(p.total, n), p.done, rate, left)
}

// end takes the bar away, for what is printed next.
func (p *progress) end() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

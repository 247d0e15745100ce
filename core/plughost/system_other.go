//go:build unix && !linux

package plughost

import (
	"net"
	"os"
	"syscall"
)

// attributes make a process the leader of a group. That it ends when we die is left to the SDK.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

// reap waits for the end of the process and kills those it has started.
func (p *process) reap() {
	status := p.cmd.Wait()
	p.mu.Lock()
	defer p.mu.Unlock()
	_ = syscall.Kill(-p.pid, syscall.SIGKILL) // nobody may be left
	p.status, p.gone = status, true
}

const descriptors = "/dev/fd"

// strays are not known here.
func strays(string) []int { return nil }

// holders are not known here: they end by themselves, as the SDK sees to.
func holders(*os.File) []int { return nil }

// peer is not known here.
func peer(net.Conn) int { return 0 }

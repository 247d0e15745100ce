//go:build unix

package plughost

import (
	"context"
	"fmt"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	health "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"
)

// maxSilences is how many questions in a row an idle plugin may leave unanswered.
const maxSilences = 3

// watch looks after a process until it ends: whether it answers while it has nothing to do, and whether
// it lasts. A process that is called is left alone: its calls have deadlines.
func (p *Plugin) watch(i *instance, brake *breaker) {
	began, silences, handled := time.Now(), 0, 0
	tick := time.NewTicker(i.limits.Idle)
	defer tick.Stop()
	for {
		select {
		case <-i.ended:
			return
		case <-tick.C:
		}
		now := i.handled()
		if brake.lasts(run{began: true, lasted: time.Since(began), handled: now}) {
			p.log.Info("the plugin runs again, and lasts")
		}
		switch {
		case now != handled || p.busy():
			silences = 0
		case i.answers():
			silences = 0
		default:
			silences++
		}
		handled = now
		if silences >= maxSilences && !p.busy() {
			i.condemn(fmt.Sprintf("it was asked %d times whether it lives, and did not answer", maxSilences))
		}
	}
}

// busy reports whether the process handles something.
func (p *Plugin) busy() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.calls > 0
}

// answers asks the process whether it serves. go-plugin has a question for that, which waits for ever.
// One that does not know the question has answered too.
func (i *instance) answers() bool {
	ctx, cancel := context.WithTimeout(context.Background(), i.limits.Health)
	defer cancel()
	answer, err := health.NewHealthClient(i.conn).Check(ctx, &health.HealthCheckRequest{Service: goplugin.GRPCServiceName}, grpc.WaitForReady(true))
	switch status.Code(err) {
	case codes.OK:
		return answer.GetStatus() != health.HealthCheckResponse_NOT_SERVING
	case codes.DeadlineExceeded, codes.Canceled, codes.Unavailable:
		return false
	}
	return true
}

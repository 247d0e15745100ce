package sdktest

import (
	"context"
	"encoding/json"

	"github.com/pipehook/pipehook/core/effect"
)

// PipedriveCall is what a plugin asks of Pipedrive's API.
type PipedriveCall = effect.APICall

// PipedrivePage is an answer that is not the last page of a list.
type PipedrivePage struct {
	Items any
	Next  string
}

// Pipedrive is part of wire.HostServer. Options.Pipedrive answers.
func (h *host) Pipedrive(_ context.Context, call uint64, c *effect.APICall) (*effect.APIAnswer, error) {
	h.mu.Lock()
	running := h.calls[call] != nil
	h.mu.Unlock()
	switch {
	case !running:
		return nil, &effect.Error{Code: "ENOTAVAILABLE", Msg: "only a call that runs can ask Pipedrive: give it the context of the call"}
	case h.pipedrive == nil:
		return nil, &effect.Error{Code: "ENOTCONNECTED", Msg: "nothing answers " + c.Method + " " + c.Path + ": set Options.Pipedrive"}
	}
	h.mu.Lock()
	h.asked = append(h.asked, *c)
	h.mu.Unlock()
	answer, err := h.pipedrive(*c)
	if err != nil {
		return nil, err
	}
	a := &effect.APIAnswer{Status: 200}
	if page, ok := answer.(PipedrivePage); ok {
		answer, a.Next = page.Items, page.Next
	}
	a.Data, err = json.Marshal(answer)
	return a, err
}

// PipedriveCalls are those that the plugin has made, in their order.
func (p *Plugin) PipedriveCalls() []PipedriveCall {
	p.host.mu.Lock()
	defer p.host.mu.Unlock()
	return append([]PipedriveCall(nil), p.host.asked...)
}

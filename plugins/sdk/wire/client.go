package wire

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/status"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/plugins/sdk/wire/pluginv1"
)

// Client is pipehook's end. It may be used by many at once.
type Client struct {
	plugin   pluginv1.PluginServiceClient
	listener pluginv1.ListenerServiceClient
}

// errAnswer is in the error of a plugin that answers something that makes no sense.
var errAnswer = errors.New("the plugin broke the protocol")

// Configure hands over the configuration. What the plugin finds wrong with it comes as ConfigErrors,
// joined; any other error is one of the call.
func (c *Client) Configure(ctx context.Context, config []byte) (Manifest, error) {
	answer, err := c.plugin.Configure(ctx, &pluginv1.ConfigureRequest{Config: config}, grpc.MaxCallRecvMsgSize(maxAnswer))
	if err != nil {
		return Manifest{}, callError(err)
	}
	var wrong []error
	for _, m := range answer.GetMistakes() {
		wrong = append(wrong, &ConfigError{Key: m.GetKey(), Msg: m.GetMessage()})
	}
	return Manifest{Name: answer.GetName(), Version: answer.GetVersion(), Does: answer.GetDoes()}, errors.Join(wrong...)
}

// Handle hands over events, which the plugin has the timeout for. It returns an error for each, or
// one when the call failed; when ctx ends before there is an answer, that is such a failure.
func (c *Client) Handle(ctx context.Context, timeout time.Duration, events []core.Event) ([]error, error) {
	req := &pluginv1.HandleRequest{TimeoutMs: max(timeout.Milliseconds(), 1), Events: make([]*pluginv1.Event, len(events))}
	for i := range events {
		req.Events[i] = sent(&events[i])
	}
	answer, err := c.listener.Handle(ctx, req, grpc.MaxCallSendMsgSize(maxMessage), grpc.MaxCallRecvMsgSize(maxAnswer))
	if err != nil {
		return nil, callError(err)
	}
	if got := len(answer.GetResults()); got != len(events) {
		return nil, fmt.Errorf("%w: %d results for %d events", errAnswer, got, len(events))
	}
	errs := make([]error, len(events))
	for i, r := range answer.GetResults() {
		errs[i] = errorOf(r)
	}
	return errs, nil
}

// callError is gRPC's error in words for people.
func callError(err error) error {
	s := status.Convert(err)
	return fmt.Errorf("%s (%s)", s.Message(), s.Code())
}

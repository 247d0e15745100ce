//go:build unix

package plughost_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	goplugin "github.com/hashicorp/go-plugin"
	"google.golang.org/grpc"
	"google.golang.org/protobuf/proto"

	"github.com/pipehook/pipehook/core"
	"github.com/pipehook/pipehook/core/plughost"
	"github.com/pipehook/pipehook/plugins/sdk"
	"github.com/pipehook/pipehook/plugins/sdk/wire"
	"github.com/pipehook/pipehook/plugins/sdk/wire/pluginv1"
)

// guises are what the test's own binary is when it is called so.
var guises = map[string]func(){
	"garbled":          func() { garbled(true, "") },
	"breaks":           breaks,
	"garbled-at-once":  func() { garbled(false, "") },
	"of-another":       ofAnother,
	"of-the-future":    func() { ofVersion(wire.Version + 1) },
	"hides-tls":        hidesTLS,
	"claims-tls":       func() { garbled(true, base64.RawStdEncoding.EncodeToString(selfSigned().Certificate[0])) },
	"stage-and-source": func() { sdk.Serve(sdk.Plugin{Name: "both", Version: "1", Stage: nothing{}, Source: nothing{}}) },
}

// guise is a path by which the test's binary is such a plugin.
func guise(t *testing.T, name string) (path string) {
	t.Helper()
	if guises[name] == nil {
		t.Fatalf("there is no %s", name)
	}
	path = filepath.Join(t.TempDir(), name)
	if err := os.Symlink(labSpec("").Path, path); err != nil {
		t.Fatal(err)
	}
	return path
}

type nothing struct{}

func (nothing) Process(context.Context, *sdk.Event) (sdk.Verdict, error) { return sdk.Continue, nil }
func (nothing) Name(context.Context, *sdk.Event) error                   { return nil }

// garbled answers all that it is asked with bytes that are no message, but for its configuration if it
// takes one.
func garbled(configures bool, certificate string) {
	manifest, err := proto.Marshal(all)
	if err != nil {
		panic(err)
	}
	server := grpc.NewServer(grpc.ForceServerCodec(raw{}), grpc.UnknownServiceHandler(func(_ any, stream grpc.ServerStream) error {
		var in []byte
		_ = stream.RecvMsg(&in) // whatever it is
		out := []byte("\xff\xff\xff\xff no message")
		if method, _ := grpc.MethodFromServerStream(stream); configures && strings.HasSuffix(method, "/Configure") {
			out = manifest
		}
		return stream.SendMsg(&out)
	}))
	serveByHand(server, certificate)
}

// all is what a plugin says that can be everything.
var all = &pluginv1.ConfigureResponse{Name: "garbled", Version: "1", Does: []string{wire.Listener, "listener.batch", wire.Stage, wire.Source}}

// serveByHand serves without go-plugin, as plugins in other languages do.
func serveByHand(server *grpc.Server, certificate string) {
	socket := filepath.Join(os.Getenv(goplugin.EnvUnixSocketDir), "s")
	at, err := net.Listen("unix", socket)
	if err != nil {
		panic(err)
	}
	fmt.Printf("1|%d|unix|%s|grpc|%s\n", wire.Version, socket, certificate)
	_ = server.Serve(at)
}

// breaks answers all that it is asked with an error of gRPC, in which its secrets are: that is what other
// languages make of an exception.
func breaks() {
	server, end := grpc.NewServer(), &breaking{}
	pluginv1.RegisterPluginServiceServer(server, end)
	pluginv1.RegisterListenerServiceServer(server, end)
	pluginv1.RegisterStageServiceServer(server, end)
	pluginv1.RegisterSourceServiceServer(server, end)
	serveByHand(server, "")
}

type breaking struct {
	pluginv1.UnimplementedPluginServiceServer
	pluginv1.UnimplementedListenerServiceServer
	pluginv1.UnimplementedStageServiceServer
	pluginv1.UnimplementedSourceServiceServer
	secrets map[string]string
}

func (b *breaking) Configure(_ context.Context, req *pluginv1.ConfigureRequest) (*pluginv1.ConfigureResponse, error) {
	b.secrets = req.GetSecrets()
	return all, nil
}

func (b *breaking) Handle(context.Context, *pluginv1.HandleRequest) (*pluginv1.HandleResponse, error) {
	return nil, fmt.Errorf("no luck with %v", b.secrets)
}

func (b *breaking) Process(context.Context, *pluginv1.ProcessRequest) (*pluginv1.ProcessResponse, error) {
	return nil, fmt.Errorf("no luck with %v", b.secrets)
}

func (b *breaking) Name(context.Context, *pluginv1.NameRequest) (*pluginv1.NameResponse, error) {
	return nil, fmt.Errorf("no luck with %v", b.secrets)
}

// raw sends bytes as they are.
type raw struct{}

func (raw) Marshal(v any) ([]byte, error) { return *v.(*[]byte), nil }
func (raw) Unmarshal(data []byte, v any) error {
	*v.(*[]byte) = append([]byte(nil), data...)
	return nil
}
func (raw) Name() string { return "proto" }

// ofAnother is a plugin of a program that is not pipehook.
func ofAnother() {
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: goplugin.HandshakeConfig{ProtocolVersion: 1, MagicCookieKey: "OTHER", MagicCookieValue: "x"},
		Plugins:         goplugin.PluginSet{}, GRPCServer: goplugin.DefaultGRPCServer,
	})
}

// hidesTLS serves with TLS of its own.
func hidesTLS() {
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: wire.Handshake, VersionedPlugins: map[int]goplugin.PluginSet{wire.Version: wire.Set(nil)}, GRPCServer: goplugin.DefaultGRPCServer,
		TLSProvider: func() (*tls.Config, error) { return &tls.Config{Certificates: []tls.Certificate{selfSigned()}}, nil },
	})
}

func selfSigned() tls.Certificate {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		panic(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func ofVersion(v int) {
	goplugin.Serve(&goplugin.ServeConfig{
		HandshakeConfig: wire.Handshake, VersionedPlugins: map[int]goplugin.PluginSet{v: wire.Set(nil)}, GRPCServer: goplugin.DefaultGRPCServer,
	})
}

func TestAPluginOfAnotherProgramOrVersionIsRefusedWithTheReason(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"of-another":       "it is a plugin of another program",
		"of-the-future":    "it speaks version 2 of the plugin protocol, and this pipehook speaks version 1",
		"stage-and-source": "both is a stage and a source, and is named as a listener",
		"garbled-at-once":  "failed to unmarshal",
		"hides-tls":        "it does not serve as it said",
		"claims-tls":       "it does not serve as it said",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t, plughost.Limits{FirstPause: time.Hour})
			plain := name == "garbled-at-once" || name == "hides-tls"
			p := b.Start(plughost.Spec{Kind: wire.Listener, Path: guise(t, name), Plain: plain})
			if err := p.Ready(t.Context()); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("error %v, want %s", err, want)
			}
		})
	}
}

// What makes no sense is a failure of the call, and the process is replaced: what it would do next nobody
// knows.
func TestAPluginThatAnswersNonsenseIsReplaced(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{})
	for _, kind := range []string{wire.Listener, wire.Stage, wire.Source} {
		p := b.Start(plughost.Spec{Kind: kind, Name: "x", Path: guise(t, "garbled"), Plain: true})
		if err := p.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		pid := p.State().PID
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		ev := core.Event{ID: "1"}
		var err error
		switch kind {
		case wire.Listener:
			err = p.Handle(ctx, ev)
		case wire.Stage:
			_, err = p.Process(ctx, &ev)
		case wire.Source:
			_, err = p.Name(ctx, &ev)
		}
		if err == nil || core.KindOf(err) == core.Crashed || core.KindOf(err) == core.Permanent {
			t.Errorf("%s, kind %s: %v", kind, core.KindOf(err), err)
		}
		until(t, "another process runs", func() bool { s := p.State(); return s.PID != 0 && s.PID != pid })
		if alive(pid) {
			t.Errorf("%s: process %d lives on", kind, pid)
		}
	}
}

// Nonsense comes at once, so that a process for each call would keep the machine busy.
func TestAPluginThatKeepsAnsweringNonsenseIsStartedMoreAndMoreSeldom(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{FirstPause: time.Hour})
	p := b.Start(plughost.Spec{Kind: wire.Listener, Name: "x", Path: guise(t, "garbled"), Plain: true})
	var err error
	for range 6 {
		if err = handle(t, p, "nothing"); core.KindOf(err) == core.Unreached {
			break
		}
	}
	if core.KindOf(err) != core.Unreached || core.RetryAfter(err) < 59*time.Minute {
		t.Errorf("the sixth call: %v, again after %s", err, core.RetryAfter(err))
	}
}

func TestAnErrorOfGRPCIsAFailureAndNobodyIsEndedForIt(t *testing.T) {
	t.Parallel()
	b := newBench(t, plughost.Limits{})
	p := b.Start(plughost.Spec{Kind: wire.Listener, Name: "x", Path: guise(t, "breaks"), Plain: true})
	if err := p.Ready(t.Context()); err != nil {
		t.Fatal(err)
	}
	pid := p.State().PID
	for range 10 {
		if err := handle(t, p, "nothing"); core.KindOf(err) != core.Failed || !strings.Contains(err.Error(), "no luck with map[]") {
			t.Errorf("kind %s: %v", core.KindOf(err), err)
		}
	}
	if is := p.State(); is.PID != pid || is.Restarts != 0 {
		t.Errorf("process %d, then %d after %d restarts", pid, is.PID, is.Restarts)
	}
}

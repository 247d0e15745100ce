package egress

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync/atomic"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// newDNS starts a name server that answers as asked: an invalid address for a name that is not there.
// It returns how to reach it.
func newDNS(t *testing.T, answer func(name string) netip.Addr) func(context.Context, string, string) (net.Conn, error) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	t.Cleanup(func() {
		_ = conn.Close()
		<-ended
	})
	go func() { // ends when conn is closed
		defer close(ended)
		for buf := make([]byte, 1500); ; {
			n, from, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(buf[:n]) != nil || len(m.Questions) == 0 {
				continue
			}
			m.Response, m.Additionals = true, nil
			q := m.Questions[0]
			if a := answer(q.Name.String()); !a.IsValid() {
				m.RCode = dnsmessage.RCodeNameError
			} else if q.Type == dnsmessage.TypeA {
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class}, Body: &dnsmessage.AResource{A: a.As4()},
				}}
			}
			if out, err := m.Pack(); err == nil {
				_, _ = conn.WriteTo(out, from)
			}
		}
	}()
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", conn.LocalAddr().String())
	}
}

// The first address that the name has may be connected to, and answers; the next may not.
func TestANameThatLeadsElsewhereLaterIsNotFollowed(t *testing.T) {
	var asked atomic.Int32
	listener, err := net.Listen("tcp", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: listener, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.Header().Set("Connection", "close") // so that the name is looked up again
	})}}
	s.Start()
	t.Cleanup(s.Close)
	var at atomic.Pointer[netip.Addr]
	lead := func(address string) {
		a := netip.MustParseAddr(address)
		at.Store(&a)
	}
	lead("127.0.0.1")
	c := newClient(t, Options{
		AllowHosts: []string{"rebind.example:" + port(t, s)}, AllowPrivate: here,
		Resolver: &net.Resolver{PreferGo: true, Dial: newDNS(t, func(string) netip.Addr { return *at.Load() })},
	})
	target := &Request{URL: "http://rebind.example:" + port(t, s)}
	if _, code := ask(t, c, target); code != "" {
		t.Fatal(code)
	}
	for _, address := range []string{"127.0.0.2", "0.0.0.0", "169.254.169.254", "10.0.0.1"} {
		lead(address)
		if _, code := ask(t, c, target); code != "EPRIVATE" {
			t.Errorf("%s: got %q", address, code)
		}
	}
	lead("127.0.0.1")
	if _, code := ask(t, c, target); code != "" || asked.Load() != 2 {
		t.Errorf("%q, asked %d times", code, asked.Load())
	}
}

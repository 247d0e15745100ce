package ingress

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pipehook/pipehook/core"
)

const crmHead = "POST " + crmPath + " HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"

// listening runs a service until stop is called.
func listening(t *testing.T, h http.Handler) (address string, stop func() error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- Serve(ln, h, slog.New(slog.DiscardHandler), 10*time.Second).Run(ctx) }()
	return ln.Addr().String(), func() error { cancel(); return <-stopped }
}

// statusLine sends a request, ends the sending side, and is the first line that comes back.
func statusLine(t *testing.T, address, request string) string {
	t.Helper()
	conn, answer := dial(t, address, request)
	defer func() { _ = conn.Close() }()
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	line, err := answer.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}

// What senders, and those who are none, put on the wire.
func TestRawRequests(t *testing.T) {
	s := &shelf{}
	address, stop := listening(t, storing(Options{MaxBody: 1000}, s))
	chunk := func(n int) string { return fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", n, strings.Repeat("x", n)) }
	tests := []struct {
		name, request string
		status        string
	}{
		{"a length", crmHead + "Content-Length: 2\r\n\r\n{}", "200"},
		{"a chunk", crmHead + "Transfer-Encoding: chunked\r\n\r\n" + chunk(2), "200"},
		{"a chunked body at the limit", crmHead + "Transfer-Encoding: chunked\r\n\r\n" + chunk(1000), "200"},
		{"a chunked body above the limit", crmHead + "Transfer-Encoding: chunked\r\n\r\n" + chunk(1001), "413"},
		{"a length above the limit", crmHead + "Content-Length: 1001\r\n\r\n", "413"},
		{"an endless length", crmHead + "Content-Length: 9223372036854775807\r\n\r\n", "413"},
		{"a length that is too short is the length", crmHead + "Content-Length: 2\r\nConnection: close\r\n\r\n{}{}", "200"},
		{"a body that is shorter than its length", crmHead + "Content-Length: 10\r\n\r\n{}", "400"},
		{"a header and no body", crmHead + "Content-Length: 10\r\n\r\n", "400"},
		{"a chunk that is torn", crmHead + "Transfer-Encoding: chunked\r\n\r\n10\r\n{}", "400"},
		{"no last chunk", crmHead + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n", "400"},
		{"a chunk without a size", crmHead + "Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n0\r\n\r\n", "400"},
		{"a negative length", crmHead + "Content-Length: -1\r\n\r\n{}", "400"},
		{"a signed length", crmHead + "Content-Length: +2\r\n\r\n{}", "400"},
		{"two lengths", crmHead + "Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}", "400"},
		{"an unknown transfer encoding", crmHead + "Transfer-Encoding: xchunked\r\n\r\n{}", "501"},
		{"a NUL in a header", crmHead + "X: a\x00b\r\nContent-Length: 2\r\n\r\n{}", "400"},
		{"a space before the colon", crmHead + "Content-Length : 2\r\n\r\n{}", "400"},
		{"no host", "POST " + crmPath + " HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}", "400"},
		{"no body at all", crmHead + "\r\n", "400"},
		{"a header that is too large", crmHead + "X: " + strings.Repeat("x", 24<<10) + "\r\n\r\n", "431"},
		{"HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "404"},
		{"an offer to upgrade", "GET " + crmPath + "/health HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n\r\n", "200"},
		{"OPTIONS *", "OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "404"},
		{"CONNECT", "CONNECT example.com:443 HTTP/1.1\r\nHost: x\r\n\r\n", "404"},
		{"dots in the path", strings.Replace(crmHead, crmPath, "/a/.."+crmPath, 1) + "Content-Length: 2\r\n\r\n{}", "404"},
		{"a health check of HTTP/1.0", "GET " + crmPath + "/health HTTP/1.0\r\n\r\n", "200"},
		{"a type in a trailer is too late", strings.Replace(crmHead, "Content-Type: application/json\r\n", "Trailer: Content-Type\r\n", 1) + "Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\nContent-Type: application/json\r\n\r\n", "415"},
	}
	accepted := 0
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			line := statusLine(t, address, test.request)
			if _, rest, _ := strings.Cut(line, " "); !strings.HasPrefix(rest, test.status+" ") {
				t.Errorf("answer %q, want %s", line, test.status)
			}
		})
		if test.status == "200" && strings.HasPrefix(test.request, "POST") {
			accepted++
		}
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
	if s.count() != accepted {
		t.Errorf("%d stored, want %d: %q", s.count(), accepted, s.bodies)
	}
	for _, body := range s.bodies {
		if body != "{}" && body != "xx" && body != strings.Repeat("x", 1000) {
			t.Errorf("stored %q", body)
		}
	}
}

// dial opens a connection, sends a text, and hands out what comes back.
func dial(t *testing.T, address, text string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	if _, err := io.WriteString(conn, text); err != nil {
		t.Fatal(err)
	}
	return conn, bufio.NewReader(conn)
}

func TestABodyThatDoesNotComeEndsInTime(t *testing.T) {
	s := &shelf{}
	server := newServer(storing(Options{}, s), slog.New(slog.DiscardHandler))
	server.ReadTimeout = 50 * time.Millisecond
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	_, answer := dial(t, ln.Addr().String(), crmHead+"Content-Length: 10\r\n\r\n{}")
	text, err := io.ReadAll(answer) // which ends because the connection is closed
	if err != nil || !strings.Contains(string(text), " 400 ") || !strings.Contains(string(text), "the body did not arrive in time") || s.count() != 0 {
		t.Errorf("answer %q, %v", text, err)
	}
	if err := server.Close(); err != nil {
		t.Error(err)
	}
	if err := <-served; !errors.Is(err, http.ErrServerClosed) {
		t.Error(err)
	}
}

func TestABodyIsNotAskedForWhenItsSizeIsRefused(t *testing.T) {
	address, stop := listening(t, storing(Options{MaxBody: 100}, &shelf{}))
	_, answer := dial(t, address, crmHead+"Expect: 100-continue\r\nContent-Length: 1000000\r\n\r\n")
	text, err := io.ReadAll(answer)
	if err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 413 ") || !strings.Contains(string(text), "Connection: close\r\n") {
		t.Errorf("answer %q, %v", text, err)
	}
	if err := stop(); err != nil {
		t.Error(err)
	}
}

func TestAStopAnswersTheRequestsThatRunAndTakesNoMore(t *testing.T) {
	inside, goOn := make(chan struct{}), make(chan struct{})
	s := &shelf{}
	address, stop := listening(t, storing(Options{}, s, stepFunc(func(context.Context, *core.Event) (core.Verdict, error) {
		close(inside)
		<-goOn
		return core.Continue, nil
	})))
	_, answer := dial(t, address, crmHead+"Content-Length: 2\r\n\r\n{}")
	<-inside
	stopped := make(chan error, 1)
	go func() { stopped <- stop() }()
	for { // until the listener is closed, which a stop does first
		conn, err := net.Dial("tcp", address)
		if errors.Is(err, syscall.ECONNREFUSED) {
			break
		}
		if err == nil {
			_ = conn.Close()
		}
	}
	select {
	case err := <-stopped:
		t.Fatalf("stopped while a request ran: %v", err)
	default:
	}
	close(goOn)
	text, err := io.ReadAll(answer)
	if err != nil || !strings.HasPrefix(string(text), "HTTP/1.1 200 ") || s.count() != 1 {
		t.Errorf("answer %q, %v", text, err)
	}
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// pipes is a listener whose connections are in memory, so that time can be a test's own.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.conns:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}
func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// A connection on which a request never ends must not use up the time that the store needs to stop.
func TestASlowClientDoesNotHoldUpAStop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		ln := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		const grace = 10 * time.Second
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		go func() { stopped <- Serve(ln, storing(Options{}, s), slog.New(slog.DiscardHandler), grace).Run(ctx) }()
		client, server := net.Pipe()
		ln.conns <- server
		if _, err := io.WriteString(client, crmHead+"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n"); err != nil {
			t.Fatal(err)
		}
		buf := make([]byte, 100)
		if n, err := client.Read(buf); err != nil || !strings.Contains(string(buf[:n]), "100 Continue") {
			t.Fatalf("%q %v", buf[:n], err)
		}
		start := time.Now()
		cancel()
		if err, took := <-stopped, time.Since(start); err != nil || took != grace*4/5 {
			t.Errorf("%v after %s", err, took)
		}
		if _, err := client.Read(buf); !errors.Is(err, io.EOF) || s.count() != 0 {
			t.Errorf("%v, %d stored", err, s.count())
		}
	})
}

func TestAListenerThatBreaksEndsTheService(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	if err := Serve(ln, http.NotFoundHandler(), slog.New(slog.DiscardHandler), time.Second).Run(t.Context()); !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
}

// A client that keeps its connection open must hear that it ends before it does.
func TestAStopTellsClientsBeforeItClosesTheirConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &shelf{}
		ln := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		stopped := make(chan error, 1)
		go func() {
			stopped <- Serve(ln, storing(Options{}, s), slog.New(slog.DiscardHandler), 10*time.Second).Run(ctx)
		}()
		connect := func() (net.Conn, *bufio.Reader) {
			client, server := net.Pipe()
			ln.conns <- server
			return client, bufio.NewReader(client)
		}
		post := func(client net.Conn, answer *bufio.Reader) *http.Response {
			if _, err := io.WriteString(client, crmHead+"Content-Length: 2\r\n\r\n{}"); err != nil {
				t.Fatal(err)
			}
			resp, err := http.ReadResponse(answer, nil)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadAll(resp.Body); err != nil {
				t.Fatal(err)
			}
			return resp
		}
		left, leftAnswer := connect()
		post(left, leftAnswer)
		time.Sleep(linger) // in the test's own time
		kept, keptAnswer := connect()
		idle, _ := connect()
		if post(kept, keptAnswer).Close {
			t.Error("a connection ends before the stop")
		}
		start := time.Now()
		cancel()
		synctest.Wait()
		if _, err := leftAnswer.ReadByte(); !errors.Is(err, io.EOF) || time.Since(start) > 0 {
			t.Errorf("a connection that was left alone: %v after %s", err, time.Since(start))
		}
		if resp := post(kept, keptAnswer); resp.StatusCode != http.StatusOK || !resp.Close {
			t.Errorf("on a connection that was open: %d, close %v", resp.StatusCode, resp.Close)
		}
		fresh, freshAnswer := connect()
		if resp := post(fresh, freshAnswer); resp.StatusCode != http.StatusOK || !resp.Close {
			t.Errorf("on a new connection: %d, close %v", resp.StatusCode, resp.Close)
		}
		// On the last one nothing was ever sent; that must not hold up the stop.
		if err, took := <-stopped, time.Since(start); err != nil || took > 2*linger {
			t.Errorf("%v after %s", err, took)
		}
		if _, err := idle.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		if s.count() != 4 {
			t.Errorf("%d stored", s.count())
		}
	})
}

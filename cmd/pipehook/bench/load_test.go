package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

func TestEachRequestIsValidAndUnique(t *testing.T) {
	var bodies []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil || !json.Valid(body) || len(body) != len(template) {
			t.Errorf("body %s (%v)", body, err)
		}
		bodies = append(bodies, string(body))
		_, _ = w.Write([]byte(`{"status":"accepted","id":"0197a000-0000-7000-8000-000000000001"}`))
	}))
	defer server.Close()
	c, err := dial(server.Listener.Addr().String(), 1)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.conn.Close() }()
	for range 3 {
		if id, err := c.send(); err != nil || id != "0197a000-0000-7000-8000-000000000001" {
			t.Fatalf("id %q (%v)", id, err)
		}
	}
	slices.Sort(bodies)
	if len(slices.Compact(bodies)) != 3 {
		t.Error("a body was sent twice")
	}
}

func TestAnAnswerThatIsNot200IsAnError(t *testing.T) {
	near, far := net.Pipe()
	go func() { _, _ = far.Write([]byte("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\n{}")) }()
	c := &client{conn: near, in: bufio.NewReader(near)}
	if _, err := c.receive(); err == nil || !bytes.Contains([]byte(err.Error()), []byte("503")) {
		t.Errorf("error %v", err)
	}
}

func TestPercentiles(t *testing.T) {
	var ds []time.Duration
	for i := range 100 {
		ds = append(ds, time.Duration(i+1))
	}
	if percentile(ds, .50) != 50 || percentile(ds, .99) != 99 || percentile(ds, 1) != 100 || percentile(nil, .5) != 0 {
		t.Error("wrong percentiles")
	}
}

package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pipehook/pipehook/core/samples"
)

// template is the body of a Pipedrive v2 updated.deal, padded to a usual size.
var template = makeTemplate()

func makeTemplate() []byte {
	_, body, ok := samples.For("updated.deal")
	if !ok {
		panic("there is no sample of updated.deal")
	}
	// Real senders write of many records; each request takes one of many.
	body = bytes.Replace(body, []byte(`"entity_id":"`+entity(body)+`"`), []byte(`"entity_id":"10000000"`), 1)
	title := []byte(`"title":"`)
	pad := bytes.Repeat([]byte("x"), max(0, 2298-len(body)))
	return bytes.Replace(body, title, slices.Concat(title, pad), 1)
}

// entity is the record that the sample is about.
func entity(body []byte) string {
	_, rest, _ := bytes.Cut(body, []byte(`"entity_id":"`))
	id, _, ok := bytes.Cut(rest, []byte(`"`))
	if !ok {
		panic("the sample names no record")
	}
	return string(id)
}

const (
	username = "hook"
	password = "a password of the bench"
	hookPath = "/pipedrive/webhook"
)

// client is one keep-alive connection that sends the same request with fresh ids. It writes and
// reads HTTP by hand: a usual client would cost more than the server under test.
type client struct {
	conn    net.Conn
	in      *bufio.Reader
	request []byte
	ids     [][]byte // the parts of request that differ each time
	stamp   []byte
	record  []byte
	rng     *rand.Rand
}

func dial(address string, seed uint64) (*client, error) {
	conn, err := net.Dial("tcp", address)
	if err != nil {
		return nil, err
	}
	head := fmt.Sprintf("POST %s HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nUser-Agent: Pipedrive Webhooks\r\nAccept: application/json, text/plain, */*\r\nAuthorization: Basic %s\r\nContent-Length: %d\r\n\r\n",
		hookPath, address, base64.StdEncoding.EncodeToString([]byte(username+":"+password)), len(template))
	c := &client{conn: conn, in: bufio.NewReader(conn), request: append([]byte(head), template...), rng: rand.New(rand.NewPCG(seed, uint64(time.Now().UnixNano())))}
	for _, key := range []string{`"id":"`, `"correlation_id":"`} {
		c.ids = append(c.ids, c.value(key, 36))
	}
	c.stamp = c.value(`"timestamp":"`, 24)
	c.record = c.value(`"entity_id":"1`, 7)
	return c, nil
}

// value is the text after the last occurrence of a key.
func (c *client) value(key string, length int) []byte {
	at := bytes.LastIndex(c.request, []byte(key)) + len(key)
	return c.request[at : at+length]
}

const hexDigits = "0123456789abcdef"

// send makes the request unique and returns the event's id.
func (c *client) send() (id string, err error) {
	for _, part := range c.ids {
		for i := range part {
			if part[i] != '-' {
				part[i] = hexDigits[c.rng.IntN(16)]
			}
		}
	}
	for i := range c.record {
		c.record[i] = '0' + byte(c.rng.IntN(10))
	}
	copy(c.stamp, time.Now().UTC().Format("2006-01-02T15:04:05.000Z"))
	if _, err := c.conn.Write(c.request); err != nil {
		return "", err
	}
	return c.receive()
}

var errStatus = errors.New("not answered 200")

func (c *client) receive() (id string, err error) {
	line, err := c.in.ReadSlice('\n')
	if err != nil {
		return "", err
	}
	ok := bytes.HasPrefix(line, []byte("HTTP/1.1 200 "))
	status := string(bytes.TrimSpace(line))
	length := 0
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		if len(line) <= 2 {
			break
		}
		if name, value, found := bytes.Cut(line, []byte(": ")); found && bytes.EqualFold(name, []byte("Content-Length")) {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return "", err
			}
		}
	}
	body, err := c.in.Peek(length)
	if err != nil {
		return "", err
	}
	if _, rest, found := bytes.Cut(body, []byte(`"id":"`)); found && len(rest) >= 36 {
		id = string(rest[:36])
	}
	if !ok {
		err = fmt.Errorf("%w but %s %s", errStatus, status, body)
	}
	_, _ = c.in.Discard(length) // it has been peeked
	return id, err
}

// load is what a run of the generator saw.
type load struct {
	latencies []time.Duration
	sent      map[string]time.Time // by event id, of the open loop
	elapsed   time.Duration
}

// closedLoop sends on every connection as fast as answers come.
func closedLoop(ctx context.Context, address string, connections int, duration time.Duration) (load, error) {
	var l load
	var mu sync.Mutex
	start := time.Now()
	err := onConnections(address, connections, func(c *client) error {
		var latencies []time.Duration
		for time.Since(start) < duration && ctx.Err() == nil {
			began := time.Now()
			if _, err := c.send(); err != nil {
				return err
			}
			latencies = append(latencies, time.Since(began))
		}
		mu.Lock()
		defer mu.Unlock()
		l.latencies = append(l.latencies, latencies...)
		return nil
	})
	l.elapsed = time.Since(start)
	return l, err
}

// openLoop sends at a steady rate whether answers come or not; latencies count from the moment a
// request should have been sent.
func openLoop(ctx context.Context, address string, connections, rate int, duration time.Duration) (load, error) {
	l := load{sent: map[string]time.Time{}}
	var mu sync.Mutex
	var next atomic.Int64
	start := time.Now()
	total := int64(float64(rate) * duration.Seconds())
	err := onConnections(address, connections, func(c *client) error {
		for {
			n := next.Add(1) - 1
			if n >= total || ctx.Err() != nil {
				return nil
			}
			due := start.Add(time.Duration(n) * time.Second / time.Duration(rate))
			time.Sleep(time.Until(due))
			id, err := c.send()
			if err != nil {
				return err
			}
			mu.Lock()
			l.latencies = append(l.latencies, time.Since(due))
			l.sent[id] = due
			mu.Unlock()
		}
	})
	l.elapsed = time.Since(start)
	return l, err
}

func onConnections(address string, n int, work func(*client) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		c, err := dial(address, uint64(i))
		if err != nil {
			return err
		}
		wg.Go(func() {
			defer func() { _ = c.conn.Close() }()
			errs[i] = work(c)
		})
	}
	wg.Wait()
	return cmp.Or(errs...) // one is enough: they fail together
}

func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(math.Ceil(p*float64(len(sorted))))-1)]
}

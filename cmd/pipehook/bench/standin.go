package main

import (
	"math/rand"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pipehook/pipehook/core/pipedrive/simulate"
)

// filledObjects are read and compared, in the shares that people have of them.
var filledObjects = []string{"organization", "person", "person", "deal", "deal"}

// standIn is a stand-in for Pipedrive that answers, and notes when it was asked.
type standIn struct {
	*simulate.Server
	random *rand.Rand
	web    *http.Server
	url    string

	mu      sync.Mutex
	latency time.Duration
	asked   []time.Time

	page string // how many records it gives at most for a request; empty for what is asked for
}

func newStandIn(records, burst int) (*standIn, error) {
	s := &standIn{Server: simulate.New(simulate.Options{Token: apiToken, CompanyID: 8087566, Seed: 1, Burst: burst}), random: rand.New(rand.NewSource(1))}
	if err := s.act(records, simulate.Mix{Create: 1}); err != nil {
		return nil, err
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.web, s.url = &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second}, "http://"+ln.Addr().String()
	go func() { _ = s.web.Serve(ln) }() // until it is closed
	return s, nil
}

// act has people do n things of which no webhook tells.
func (s *standIn) act(n int, mix simulate.Mix) error {
	mix.Objects, mix.By = filledObjects, simulate.By{Quiet: true}
	_, err := s.CRM().Act(s.random, n, mix)
	return err
}

// count is how many records there are to be read.
func (s *standIn) count() (n int) {
	for _, object := range distinct(filledObjects) {
		n += s.CRM().Count(object)
	}
	return n
}

func (s *standIn) close() { _ = s.web.Close() }

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked = append(s.asked, time.Now())
	wait := s.latency
	s.mu.Unlock()
	time.Sleep(wait)
	if s.page != "" {
		query := r.URL.Query()
		query.Set("limit", s.page)
		r.URL.RawQuery = query.Encode()
	}
	s.Server.ServeHTTP(w, r)
}

// takes has the API take so long for an answer from now on, and forgets when it was asked.
func (s *standIn) takes(latency time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency, s.asked = latency, nil
}

func (s *standIn) requests() []time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

// used is how much of the time that requests took a limit asks for: so many at once, and the next ones two seconds later.
func used(asked []time.Time, limit int) float64 {
	least := time.Duration((len(asked)-1)/limit) * 2 * time.Second
	return least.Seconds() / asked[len(asked)-1].Sub(asked[0]).Seconds()
}

func distinct(names []string) []string { return slices.Compact(slices.Clone(names)) }

func objectsQuery() string { return "objects=" + strings.Join(distinct(filledObjects), ",") }

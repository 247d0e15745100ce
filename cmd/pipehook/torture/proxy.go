package main

import (
	"net"
	"sync"
	"time"
)

// proxy is the network between pipehook and its database, with the faults that networks have.
type proxy struct {
	ln     net.Listener
	target string

	mu sync.Mutex
	weather
	links  map[*link]bool
	change chan struct{} // closed and replaced when the weather changes
	ended  sync.WaitGroup
}

// weather is what happens to what passes.
type weather struct {
	down  bool          // nobody gets through any more; who tries is reset
	hole  bool          // bytes wait, in both directions
	deaf  bool          // what the server says is lost, and the connection with it
	delay time.Duration // of each piece
	piece int           // bytes of a piece at most; 0 for as they come
}

// link is one connection through the proxy.
type link struct {
	client, server net.Conn
	dead           bool // its bytes go nowhere, and nobody is told
}

func newProxy(target string) (*proxy, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{ln: ln, target: target, links: map[*link]bool{}, change: make(chan struct{})}
	p.ended.Go(p.accept) // ends with the listener
	return p, nil
}

func (p *proxy) close() {
	_ = p.ln.Close()
	p.set(weather{down: true})
	p.reset()
	p.ended.Wait()
}

// set changes the weather.
func (p *proxy) set(w weather) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.weather = w
	close(p.change)
	p.change = make(chan struct{})
}

// reset resets every connection there is.
func (p *proxy) reset() {
	for _, l := range p.all() {
		l.reset()
	}
}

// forget makes every connection there is a dead one, as a firewall does that has been restarted.
func (p *proxy) forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.dead = true
	}
}

func (p *proxy) all() []*link {
	p.mu.Lock()
	defer p.mu.Unlock()
	var all []*link
	for l := range p.links {
		all = append(all, l)
	}
	return all
}

func (l *link) reset() {
	for _, conn := range []net.Conn{l.client, l.server} {
		_ = conn.(*net.TCPConn).SetLinger(0) // it may be closed
		_ = conn.Close()
	}
}

func (p *proxy) accept() {
	for {
		client, err := p.ln.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		down := p.down
		p.mu.Unlock()
		var server net.Conn
		if !down {
			server, err = net.Dial("tcp", p.target)
		}
		if down || err != nil {
			_ = client.(*net.TCPConn).SetLinger(0)
			_ = client.Close()
			continue
		}
		l := &link{client: client, server: server}
		p.mu.Lock()
		p.links[l] = true
		p.mu.Unlock()
		p.ended.Go(func() { p.carry(l, client, server, false) }) // both end with their connections
		p.ended.Go(func() { p.carry(l, server, client, true) })
	}
}

// carry takes what one side says to the other.
func (p *proxy) carry(l *link, from, to net.Conn, fromServer bool) {
	defer func() {
		_ = from.Close()
		_ = to.Close()
		p.mu.Lock()
		delete(p.links, l)
		p.mu.Unlock()
	}()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && !p.pass(l, buf[:n], to, fromServer) {
			return
		}
		if err != nil {
			return
		}
	}
}

// pass hands bytes on as the weather allows. false ends the link.
func (p *proxy) pass(l *link, b []byte, to net.Conn, fromServer bool) bool {
	for {
		p.mu.Lock()
		w, change, dead := p.weather, p.change, l.dead
		p.mu.Unlock()
		switch {
		case dead:
			return true
		case w.down, w.deaf && fromServer:
			l.reset()
			return false
		case w.hole:
			<-change
			continue
		}
		piece := len(b)
		if w.piece > 0 {
			piece = min(piece, w.piece)
		}
		time.Sleep(w.delay)
		if _, err := to.Write(b[:piece]); err != nil {
			return false
		}
		if b = b[piece:]; len(b) == 0 {
			return true
		}
	}
}

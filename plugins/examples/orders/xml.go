package main

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
)

// What a body may be at most. A shop's are far smaller; a stranger's must not keep a processor busy.
const (
	mostDepth  = 16
	mostTokens = 20_000
	mostLines  = 500
	mostJSON   = 256 << 10 // of the order, for listeners
)

// notification is what a shop sends. The elements are in two namespaces, whatever their prefixes are.
type notification struct {
	XMLName xml.Name `xml:"urn:example:shop:notify Notification"`
	ID      string   `xml:"id,attr"`
	Shop    string   `xml:"shop,attr"`
	Sent    string   `xml:"sent,attr"`
	Attempt int      `xml:"attempt,attr"`
	Event   struct {
		Kind string `xml:"kind,attr"`
	} `xml:"urn:example:shop:notify Event"`
	Order order `xml:"urn:example:shop:order Order"`
}

// order is an order in the shop's XML, and in the JSON that listeners get.
type order struct {
	Number   string   `xml:"number,attr" json:"number"`
	Currency string   `xml:"currency,attr" json:"currency"`
	Total    decimal  `xml:"urn:example:shop:order Total" json:"total"`
	Customer customer `xml:"urn:example:shop:order Customer" json:"customer"`
	Lines    []item   `xml:"urn:example:shop:order Lines>Line" json:"lines"`
}

type customer struct {
	ID   string `xml:"id,attr" json:"id"`
	Name string `xml:"urn:example:shop:order Name" json:"name"`
}

type item struct {
	SKU      string  `xml:"sku,attr" json:"sku"`
	Quantity int     `xml:"quantity,attr" json:"quantity"`
	Price    decimal `xml:"price,attr" json:"price"`
	Text     string  `xml:",chardata" json:"text"`
}

// decimal is an amount with the digits that were sent: a float64 would round them.
type decimal string

var isDecimal = regexp.MustCompile(`^-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,6})?$`)

// UnmarshalText is called by encoding/xml, for attributes and elements.
func (d *decimal) UnmarshalText(text []byte) error {
	if text = bytes.TrimSpace(text); !isDecimal.Match(text) {
		return fmt.Errorf("%.20q is no amount", text)
	}
	*d = decimal(text)
	return nil
}

// MarshalJSON is called by encoding/json.
func (d decimal) MarshalJSON() ([]byte, error) { return []byte(d), nil }

// Words that become a part of names, and so of patterns and of the order of deliveries.
var (
	isWord   = regexp.MustCompile(`^[a-z][a-z_]{0,39}$`)
	isNumber = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)
)

// read makes a notification of a body, or says what is not as documented.
func read(body []byte) (*notification, error) {
	raw := xml.NewDecoder(bytes.NewReader(body))
	raw.CharsetReader = charset
	d := xml.NewTokenDecoder(&guard{from: raw})
	n := &notification{}
	if err := d.Decode(n); err != nil {
		return nil, err
	}
	if err := end(d); err != nil {
		return nil, err
	}
	for _, must := range []struct {
		name, value string
		be          *regexp.Regexp
	}{{"id", n.ID, isNumber}, {"shop", n.Shop, isNumber}, {"kind", n.Event.Kind, isWord}, {"number", n.Order.Number, isNumber}} {
		if !must.be.MatchString(must.value) {
			return nil, fmt.Errorf("%s must be as %s, is %.40q", must.name, must.be, must.value)
		}
	}
	switch {
	case n.Order.Total == "":
		return nil, errors.New("the order has no Total")
	case len(n.Order.Lines) > mostLines:
		return nil, fmt.Errorf("the order has %d lines, and may have %d", len(n.Order.Lines), mostLines)
	case n.Attempt < 0:
		return nil, errors.New("attempt must not be below 0")
	}
	for i := range n.Order.Lines {
		line := &n.Order.Lines[i]
		if line.Text = strings.TrimSpace(line.Text); line.Price == "" {
			return nil, fmt.Errorf("line %d has no price", i+1)
		}
	}
	return n, nil
}

// end refuses what stands behind the document.
func end(d *xml.Decoder) error {
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		switch token := token.(type) {
		case xml.Comment:
		case xml.CharData:
			if len(bytes.TrimSpace(token)) > 0 {
				return errors.New("something stands behind its end")
			}
		default:
			return errors.New("something stands behind its end")
		}
	}
}

// guard passes on what it reads, as long as it is within bounds. encoding/xml itself knows no external
// entities and expands none that a document defines.
type guard struct {
	from          *xml.Decoder
	depth, tokens int
}

func (g *guard) Token() (xml.Token, error) {
	token, err := g.from.RawToken() // the decoder that asks resolves namespaces
	if err != nil {
		return nil, err
	}
	switch token.(type) {
	case xml.StartElement:
		g.depth++
	case xml.EndElement:
		g.depth--
	case xml.Directive:
		return nil, errors.New("a document type is not taken")
	}
	if g.tokens++; g.depth > mostDepth || g.tokens > mostTokens {
		return nil, errors.New("it is nested too deep, or too long")
	}
	return token, nil
}

// charset reads the one other encoding in which some shops write.
func charset(name string, from io.Reader) (io.Reader, error) {
	switch strings.ToLower(name) {
	case "iso-8859-1", "latin1":
		return &latin1{from: from}, nil
	}
	return nil, fmt.Errorf("the encoding %.20q is not taken; send UTF-8", name)
}

// latin1 makes UTF-8 of ISO-8859-1, in which each byte is the number of its letter.
type latin1 struct {
	from io.Reader
	rest []byte
}

func (l *latin1) Read(p []byte) (int, error) {
	if len(l.rest) == 0 {
		var some [512]byte
		n, err := l.from.Read(some[:])
		if n == 0 {
			return 0, err
		}
		text := make([]rune, n)
		for i, b := range some[:n] {
			text[i] = rune(b)
		}
		l.rest = []byte(string(text))
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

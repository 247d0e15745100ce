package egress

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"syscall"
	"unicode"
)

// Error is why there is no response. Code is stable; Msg names the host and holds nothing else of
// the URL, no header and no body.
//
//	EURL, EHEADER, EBODY  the request is not one that can be sent
//	EHOST                 the host is not on the allow-list
//	EPRIVATE              the name leads to an address that is not on the Internet
//	EREDIRECT             a redirect that is not followed
//	ETOOLARGE             the request or the response is over a limit
//	ETIMEDOUT, ECANCELED  the context ended
//	EDNS, ECONNREFUSED, EUNREACHABLE, ECONNRESET, ETLS  what the network said
//	ENETWORK              anything else
type Error struct {
	Code string
	Msg  string
	err  error
}

func (e *Error) Error() string { return e.Msg }
func (e *Error) Unwrap() error { return e.err }

func errorf(code, format string, args ...any) *Error {
	return &Error{Code: code, Msg: fmt.Sprintf(format, args...)}
}

// failed says why a request came to nothing.
func failed(ctx context.Context, p place, err error) *Error {
	if e, ok := errors.AsType[*url.Error](err); ok { // it repeats the URL
		err = e.Err
	}
	e := classify(ctx, p, err)
	e.err = err
	return e
}

func classify(ctx context.Context, p place, err error) *Error {
	if e, ok := errors.AsType[*addressError](err); ok {
		return errorf("EPRIVATE", "the host %s leads to %s, which %s: if that is meant, add it to allow_private of [scripts], as in allow_private = [%q]", p, e.addr, e.what, e.addr.String())
	}
	var timeout net.Error
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &timeout) && timeout.Timeout():
		return errorf("ETIMEDOUT", "%s did not answer in time", p)
	case ctx.Err() != nil:
		return errorf("ECANCELED", "the request to %s was given up", p)
	case isTLS(err):
		return errorf("ETLS", "%s can't be spoken to in private: %s", p, shown(err))
	case strings.Contains(err.Error(), "headers exceeded"): // the transport has no error of its own for it
		return errorf("ETOOLARGE", "the headers of the response of %s are larger than %d bytes", p, maxHeader)
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return errorf("EDNS", "the host %s was not found", p)
	}
	for code, numbers := range map[string][]error{
		"ECONNREFUSED": {syscall.ECONNREFUSED},
		"EUNREACHABLE": {syscall.EHOSTUNREACH, syscall.ENETUNREACH, syscall.EADDRNOTAVAIL},
		"ECONNRESET":   {syscall.ECONNRESET, syscall.EPIPE, io.EOF, io.ErrUnexpectedEOF},
	} {
		for _, n := range numbers {
			if errors.Is(err, n) {
				return errorf(code, "%s: %s", p, shown(n))
			}
		}
	}
	return errorf("ENETWORK", "the request to %s failed: %s", p, shown(err))
}

func isTLS(err error) bool {
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return true
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return true
	}
	return strings.Contains(err.Error(), "tls: ") || strings.Contains(err.Error(), "HTTP response to HTTPS client")
}

// shown keeps what a server answered from steering a terminal or filling a log.
func shown(err error) string {
	text := []rune(strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.Is(unicode.Cf, r) {
			return unicode.ReplacementChar
		}
		return r
	}, err.Error()))
	if len(text) > 160 {
		text = append(text[:160], '…')
	}
	return string(text)
}

package database

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"database/sql"
	"errors"
	"net"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/uptrace/bun/driver/pgdriver"

	"github.com/pipehook/pipehook/core"
)

// Postgres opens a pool with the settings without which pgdriver surprises: it knows no
// cancellation, so every statement has a time limit on the server and, a little later, on the
// socket; and error texts longer than its buffer would be lost. A timeout of 0 means none.
func (l Location) Postgres(timeout time.Duration, params map[string]any) (*sql.DB, error) {
	tlsConf, err := l.tls()
	if err != nil {
		return nil, err
	}
	if params == nil {
		params = map[string]any{}
	}
	params["timezone"] = "UTC"
	options := []pgdriver.Option{
		pgdriver.WithTLSConfig(tlsConf),
		pgdriver.WithDatabase(strings.Trim(l.pg.Path, "/")),
		pgdriver.WithApplicationName("pipehook"),
		pgdriver.WithBufferSize(64 << 10),
		pgdriver.WithReadTimeout(0), pgdriver.WithWriteTimeout(0),
	}
	if timeout > 0 {
		params["statement_timeout"] = timeout.Milliseconds()
		params["lock_timeout"] = (timeout / 2).Milliseconds()
		options = append(options, pgdriver.WithReadTimeout(timeout+5*time.Second), pgdriver.WithWriteTimeout(timeout))
	}
	options = append(options, pgdriver.WithConnParams(params))
	network, addr := address(l.pg)
	options = append(options, pgdriver.WithNetwork(network), pgdriver.WithAddr(addr))
	if user := l.pg.User; user != nil {
		password, _ := user.Password()
		options = append(options, pgdriver.WithUser(user.Username()), pgdriver.WithPassword(password))
	}
	db := sql.OpenDB(pgdriver.NewConnector(options...))
	db.SetConnMaxLifetime(30 * time.Minute)
	return db, nil
}

// quiet keeps the driver from writing to stderr by itself: what it tells there comes back as errors.
type quiet struct{}

func (quiet) Printf(context.Context, string, ...any) {}

func init() { pgdriver.Logger = quiet{} }

func address(u *url.URL) (network, addr string) {
	host, port := u.Hostname(), u.Port()
	if q := u.Query().Get("host"); q != "" {
		host = q
	}
	if port == "" {
		port = "5432"
	}
	if strings.HasPrefix(host, "/") {
		return "unix", host + "/.s.PGSQL." + port
	}
	if host == "" {
		host = "localhost"
	}
	return "tcp", net.JoinHostPort(host, port)
}

// tls reads sslmode and sslrootcert with the meaning libpq gives them, but for the default:
// a server on this machine is spoken to in the clear, any other must prove who it is.
func (l Location) tls() (*tls.Config, error) {
	u := l.pg
	host := u.Hostname()
	if q := u.Query().Get("host"); q != "" {
		host = q
	}
	mode := u.Query().Get("sslmode")
	if mode == "" && local(host) {
		mode = "disable"
	}
	conf := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
	if file := u.Query().Get("sslrootcert"); file != "" {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, invalid("%s: sslrootcert: %v", l.key, err)
		}
		if conf.RootCAs = x509.NewCertPool(); !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, invalid("%s: sslrootcert: %s holds no PEM certificate", l.key, file)
		}
	}
	switch mode {
	case "disable":
		return nil, nil
	case "require":
		conf.InsecureSkipVerify = true // what libpq's "require" means: encrypted, not verified
		return conf, nil
	case "", "verify-full":
		return conf, nil
	default:
		return nil, invalid("%s: sslmode=%s is not supported: use verify-full, require or disable", l.key, mode)
	}
}

// ServerSaid reports whether the error is the server's own answer, so that the connection and the
// outcome are known.
func ServerSaid(err error) bool {
	_, ok := errors.AsType[pgdriver.Error](err)
	return ok
}

// Unreachable reports whether there is no server to be asked now, or one that is starting, stopping
// or full (SQLSTATE 57P, 53), so that waiting helps. Anything else it said itself is for people.
func Unreachable(err error) bool {
	if e, ok := errors.AsType[*core.Error](err); ok && e.Kind == core.Invalid {
		return false
	}
	e, ok := errors.AsType[pgdriver.Error](err)
	return !ok || strings.HasPrefix(e.Field('C'), "57P") || strings.HasPrefix(e.Field('C'), "53")
}

// Hopeless reports whether the database would refuse the same again: its answer is about the data
// (classes 22 and 23 of SQLSTATE), not about the server or the connection.
func Hopeless(err error) bool {
	e, ok := errors.AsType[pgdriver.Error](err)
	return ok && (strings.HasPrefix(e.Field('C'), "22") || strings.HasPrefix(e.Field('C'), "23"))
}

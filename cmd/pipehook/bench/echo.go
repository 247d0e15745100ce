package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// The bare echo is what a plugin's calls are measured against: gRPC, a unix socket, TLS on both sides, a
// process of its own, and nothing else. It answers with the bytes that it is sent.
const (
	echoMethod = "/bench.Echo/Echo"
	echoName   = "bench"
	most       = 64 << 20 // bytes of a message
)

// serveEcho listens on the socket until it is ended. The pair is the certificate and key of both sides.
func serveEcho(socket, pair string) error {
	creds, err := echoCredentials(pair)
	if err != nil {
		return err
	}
	ln, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	s := grpc.NewServer(grpc.Creds(creds), grpc.MaxRecvMsgSize(most), grpc.MaxSendMsgSize(most))
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "bench.Echo", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Echo",
		Handler: func(_ any, _ context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
			said := &wrapperspb.BytesValue{}
			return said, decode(said)
		},
	}}}, struct{}{})
	fmt.Println("ready")
	return s.Serve(ln)
}

// echo starts the process and connects to it.
func (b *bench) echo(ctx context.Context) (_ *grpc.ClientConn, pid int, stop func(), err error) {
	socket, pair := filepath.Join(b.dir, "echo.sock"), filepath.Join(b.dir, "echo.pem")
	if err := writePair(pair); err != nil {
		return nil, 0, nil, err
	}
	self, err := os.Executable()
	if err != nil {
		return nil, 0, nil, err
	}
	cmd := exec.CommandContext(ctx, self, "echo", socket, pair)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, 0, nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, 0, nil, err
	}
	end := func() {
		_ = cmd.Process.Kill() // it has nothing to lose
		_ = cmd.Wait()
	}
	if _, err := out.Read(make([]byte, 8)); err != nil {
		end()
		return nil, 0, nil, fmt.Errorf("the echo did not start: %w", err)
	}
	creds, err := echoCredentials(pair)
	if err != nil {
		end()
		return nil, 0, nil, err
	}
	conn, err := grpc.NewClient("unix:"+socket, grpc.WithTransportCredentials(creds), grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(most), grpc.MaxCallSendMsgSize(most)))
	if err != nil {
		end()
		return nil, 0, nil, err
	}
	return conn, cmd.Process.Pid, func() { _ = conn.Close(); end() }, nil
}

// writePair makes a certificate as go-plugin does.
func writePair(path string) error {
	key, err := ecdsa.GenerateKey(elliptic.P521(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: echoName}, DNSNames: []string{echoName}, SerialNumber: big.NewInt(1), IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(24 * time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth, x509.ExtKeyUsageServerAuth},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageKeyEncipherment | x509.KeyUsageKeyAgreement | x509.KeyUsageCertSign,
	}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return err
	}
	text := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})...)
	return os.WriteFile(path, text, 0o600)
}

func echoCredentials(pair string) (credentials.TransportCredentials, error) {
	cert, err := tls.LoadX509KeyPair(pair, pair)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if pool.AddCert(cert.Leaf); cert.Leaf == nil {
		return nil, errors.New("the certificate has no leaf")
	}
	return credentials.NewTLS(&tls.Config{
		Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, RootCAs: pool, ServerName: echoName,
		MinVersion: tls.VersionTLS12,
	}), nil
}

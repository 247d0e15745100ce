package program_test

import (
	"net"
	"testing"

	"github.com/pipehook/pipehook/cmd/pipehook/internal/program"
)

func TestAnAddressIsHeldSoThatNoOtherProcessIsGivenIt(t *testing.T) {
	address := program.FreeAddress()
	if other, err := net.ListenPacket("udp", address); err == nil {
		_ = other.Close()
		t.Errorf("%s is not held", address)
	}
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	_ = ln.Close()
}

package wire_test

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/pipehook/pipehook/plugins/sdk/wire"
	"github.com/pipehook/pipehook/plugins/sdk/wire/pluginv1"
)

func TestThePageOfTheProtocolHasAllOfIt(t *testing.T) {
	text, err := os.ReadFile("../../../docs/plugin-protocol.md")
	if err != nil {
		t.Fatal(err)
	}
	words := []string{
		wire.Handshake.MagicCookieKey, wire.Handshake.MagicCookieValue, fmt.Sprintf("`1|%d|unix|", wire.Version), fmt.Sprintf("| %d.%d |", wire.Version, wire.Minor),
		"PLUGIN_UNIX_SOCKET_DIR", "PLUGIN_CLIENT_CERT", "pipehook-token", "listener.batch", "listener.spans", "192 MiB",
	}
	services := pluginv1.File_pluginv1_plugin_proto.Services()
	for i := range services.Len() {
		words = append(words, string(services.Get(i).FullName()))
		methods := services.Get(i).Methods()
		for k := range methods.Len() {
			words = append(words, string(methods.Get(k).Name()))
		}
	}
	for _, word := range words {
		if !strings.Contains(string(text), word) {
			t.Errorf("docs/plugin-protocol.md does not have %s", word)
		}
	}
}

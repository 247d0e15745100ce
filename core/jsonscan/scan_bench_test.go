package jsonscan_test

import (
	"testing"

	"github.com/pipehook/pipehook/core/jsonscan"
)

func BenchmarkDepth(b *testing.B) {
	body := []byte(`{"meta":{"action":"change","entity":"deal","permitted_user_ids":["12415231","12415232"]},"data":{"id":8,"title":"Annual licence, 40 seats","custom_fields":{"3d0fa3429dfa2d3dec265b4fc5dc8258ab66cdf3":null,"b866f35c4c646e0ffc66296e42aa3b20f6ac8804":{"type":"varchar","value":"framework contract"}},"value":12000,"org_id":null}}`)
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if jsonscan.Depth(body, jsonscan.MaxDepth) != 4 {
			b.Fatal("wrong depth")
		}
	}
}

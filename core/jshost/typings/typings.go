// Package typings holds the TypeScript declarations of all that scripts can use, for editors and for
// tsc --strict. It is text, but for the fields of an account: a test in the engine's package tree keeps it the same as what is there.
package typings

import (
	_ "embed"
	"regexp"
	"strings"

	"github.com/pipehook/pipehook/core/pipedrive/shape"
)

// File is the name under which the declarations are written.
const File = "pipehook.d.ts"

var (
	//go:embed pipehook.d.ts
	modules string
	//go:embed globals.d.ts
	globals string
	//go:embed test.d.ts
	tests string
	//go:embed tsconfig.json
	config []byte
)

// Text is the file, with a header that says by which version of pipehook it was written, and the types of an
// account's own fields as far as they are known.
func Text(version string, f *shape.Fields) []byte {
	return []byte("// " + File + ": what scripts can use. Written by pipehook " + version + "; `pipehook types` writes it anew.\n" +
		strings.Join([]string{modules, globals, tests}, "\n") + ownFields(f))
}

var header = regexp.MustCompile(`^// ` + regexp.QuoteMeta(File) + `: .*\. Written by pipehook (\S+); `)

// WrittenBy is the version whose file it is; ok is false for a file that somebody else has written.
func WrittenBy(text []byte) (version string, ok bool) {
	m := header.FindSubmatch(text)
	if m == nil {
		return "", false
	}
	return string(m[1]), true
}

// Config is a tsconfig.json for the folder of the scripts.
func Config() []byte { return config }

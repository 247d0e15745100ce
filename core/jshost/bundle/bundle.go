// Package bundle makes one text of a script and the files it imports, in the language that the engine
// knows, with a source map that leads back to the files. It reads files and runs nothing of them.
package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"unicode/utf16"

	"github.com/evanw/esbuild/pkg/api"

	"github.com/pipehook/pipehook/core/jshost/engine"
)

// opening begins the function that a bundle is.
const opening = "(function (exports, require, module) {"

// Make makes one CommonJS function of the file and its imports, all as they were at one time. Places
// in it are those of the bundle; its source map leads back to the files. The error is an
// engine.CompileError.
func Make(path string) (engine.Code, error) {
	if _, err := os.Stat(path); err != nil {
		return engine.Code{}, &engine.CompileError{File: path, Msg: "can't be read: " + plainCause(err)}
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return engine.Code{}, &engine.CompileError{File: path, Msg: err.Error()}
	}
	// The bundler follows links; from a linked folder its names would lead out and in again.
	dir, err := filepath.EvalSymlinks(filepath.Dir(abs))
	if err != nil {
		return engine.Code{}, &engine.CompileError{File: path, Msg: err.Error()}
	}
	for range tries {
		from := &sources{texts: map[string][]byte{}}
		result := build(dir, filepath.Base(abs), from)
		if from.changed() {
			continue
		}
		if len(result.Errors) > 0 {
			return engine.Code{}, bundleError(path, result.Errors[0])
		}
		return codeOf(path, result)
	}
	return engine.Code{}, &engine.CompileError{File: path, Msg: "it, or what it imports, is saved again and again: save it once more"}
}

// build bundles a file of a folder.
func build(dir, name string, from *sources) api.BuildResult {
	return api.Build(api.BuildOptions{
		EntryPoints: []string{filepath.Join(dir, name)}, AbsWorkingDir: dir, Outdir: dir,
		Bundle: true, Write: false, Metafile: true, LogLevel: api.LogLevelSilent, Charset: api.CharsetUTF8,
		Format: api.FormatCommonJS, Platform: api.PlatformBrowser, // whose globals are ours; its builds of packages need no module of Node.js
		External: []string{"pipehook", "pipehook/test"}, // for whoever loads it
		Target:   api.ES2022, Supported: map[string]bool{
			"async-generator": false, "for-await": false, "top-level-await": false, "dynamic-import": false,
			"import-meta": false, "regexp-match-indices": false, "regexp-set-notation": false,
		},
		Define:    map[string]string{"process.env.NODE_ENV": `"production"`}, // packages ask for it
		Plugins:   []api.Plugin{{Name: "plain", Setup: func(b api.PluginBuild) { b.OnLoad(api.OnLoadOptions{Filter: loaded}, from.load) }}},
		Sourcemap: api.SourceMapExternal, SourcesContent: api.SourcesContentExclude,
		// On lines of their own and known to the source map, so that every place stays right.
		Banner: map[string]string{"js": opening}, Footer: map[string]string{"js": "})"},
	})
}

// codeOf is what was built.
func codeOf(path string, result api.BuildResult) (engine.Code, error) {
	var text, places []byte
	for _, file := range result.OutputFiles {
		if strings.HasSuffix(file.Path, ".map") {
			places = file.Contents
		} else {
			text = file.Contents
		}
	}
	inputs, modules := inputsOf(result.Metafile, filepath.Dir(path))
	if modules {
		text = bytes.Replace(text, []byte(opening), []byte(opening+` "use strict";`), 1)
	}
	code, err := withPlaces(text, places)
	if err != nil {
		return engine.Code{}, &engine.CompileError{File: path, Msg: err.Error()}
	}
	sum := sha256.Sum256(code)
	return engine.Code{Path: path, Hash: hex.EncodeToString(sum[:6]), Text: code, Inputs: inputs}, nil
}

// withPlaces puts the source map at the end of the code. The last place is repeated at the last
// line: goja's lookup fails for what comes after the last mapping, which is the end of the file.
func withPlaces(code, places []byte) ([]byte, error) {
	var sourceMap struct {
		Version  int      `json:"version"`
		Sources  []string `json:"sources"`
		Names    []string `json:"names"`
		Mappings string   `json:"mappings"`
	}
	if err := json.Unmarshal(places, &sourceMap); err != nil {
		return nil, fmt.Errorf("the bundler's source map: %w", err)
	}
	if sourceMap.Mappings != "" {
		lines := bytes.Count(code, []byte("\n")) - strings.Count(sourceMap.Mappings, ";")
		sourceMap.Mappings += strings.Repeat(";", max(lines, 1)) + "AAAA"
	}
	text, err := json.Marshal(sourceMap)
	if err != nil {
		return nil, fmt.Errorf("the bundler's source map: %w", err)
	}
	code = append(bytes.TrimRight(code, "\n"), "\n//# sourceMappingURL=data:application/json;base64,"...)
	return base64.StdEncoding.AppendEncode(code, text), nil
}

// missingPackage is what the bundler says of a package that is in no node_modules; a path inside of it
// is left away.
var missingPackage = regexp.MustCompile(`^You can mark the path "((?:@[^/"]+/)?[^/"@.][^/"]*)(?:/[^"]*)?" as external`)

func bundleError(path string, m api.Message) error {
	e := &engine.CompileError{File: path, Msg: m.Text}
	for _, note := range m.Notes {
		if strings.Contains(note.Text, "built into node") {
			e.Msg = strings.Replace(m.Text, "Could not resolve", "there is no module", 1) + ": scripts don't run in Node.js and have none of its modules"
		}
		if name := missingPackage.FindStringSubmatch(note.Text); name != nil {
			e.Msg += ": npm install " + name[1] + ", in its folder or one above, adds it"
		}
	}
	if at := m.Location; at != nil {
		e.File = filepath.Join(filepath.Dir(path), at.File)
		e.Line, e.Column = at.Line, utf16Column(at.LineText, at.Column)
		e.Frame = engine.CodeFrame(at.LineText, e.Line, e.Column)
	}
	return e
}

// utf16Column is a column as JavaScript counts it, from 1, for one that counts bytes from 0.
func utf16Column(line string, bytes int) int {
	column := 1
	for _, r := range line[:min(max(bytes, 0), len(line))] {
		column += max(utf16.RuneLen(r), 1)
	}
	return column
}

// inputsOf reads the bundler's report, which names files from the folder of the entry. modules
// reports whether all of them are ES modules: those are strict, which a CommonJS bundle is not by itself.
func inputsOf(report, dir string) (inputs []string, modules bool) {
	var meta struct {
		Inputs map[string]struct {
			Format string `json:"format"`
		} `json:"inputs"`
	}
	if json.Unmarshal([]byte(report), &meta) != nil {
		return nil, false
	}
	modules = true
	for name, input := range meta.Inputs {
		if strings.HasPrefix(name, "(disabled)") {
			continue
		}
		inputs = append(inputs, filepath.Join(dir, filepath.FromSlash(name)))
		modules = modules && (input.Format == "esm" || strings.HasSuffix(name, ".json"))
	}
	slices.Sort(inputs)
	return inputs, modules
}

// plainCause leaves the path out: the error names it already.
func plainCause(err error) string {
	if os.IsNotExist(err) {
		return "there is no such file"
	}
	if pathErr, ok := err.(*os.PathError); ok {
		return fmt.Sprint(pathErr.Err)
	}
	return err.Error()
}

package scripttest

import (
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
)

type junitSuites struct {
	XMLName  xml.Name     `xml:"testsuites"`
	Tests    int          `xml:"tests,attr"`
	Failures int          `xml:"failures,attr"`
	Skipped  int          `xml:"skipped,attr"`
	Time     string       `xml:"time,attr"`
	Suites   []junitSuite `xml:"testsuite"`
}

type junitSuite struct {
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Name    string        `xml:"name,attr"`
	Class   string        `xml:"classname,attr"`
	File    string        `xml:"file,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitFailure `xml:"failure"`
	Error   *junitFailure `xml:"error"`
	Skipped *struct{}     `xml:"skipped"`
	Out     string        `xml:"system-out,omitempty"`
}

type junitFailure struct {
	Message string `xml:"message,attr"`
	Text    string `xml:",chardata"`
}

// WriteJUnit writes what came of the tests in the form that CI servers read.
func WriteJUnit(w io.Writer, files []File) error {
	all := junitSuites{}
	var took int64
	for _, f := range files {
		suite := junitSuite{Name: f.Path, Time: seconds(f.TookUS)}
		took += f.TookUS
		if f.Failure != nil {
			suite.Errors++
			suite.Cases = append(suite.Cases, junitCase{Name: "the file", Class: f.Path, File: f.Path, Time: seconds(0), Error: junitOf(f.Failure)})
		}
		for _, t := range f.Tests {
			c := junitCase{Name: t.Name, Class: f.Path, File: f.Path, Time: seconds(t.TookUS)}
			switch t.State {
			case Failed:
				suite.Failures++
				c.Failure = junitOf(t.Failure)
			case Skipped:
				suite.Skipped++
				c.Skipped = &struct{}{}
			}
			var said []string
			for _, line := range t.Lines {
				said = append(said, line.Level.String()+" "+line.Text)
			}
			c.Out = strings.Join(said, "\n")
			suite.Cases = append(suite.Cases, c)
		}
		suite.Tests = len(suite.Cases)
		all.Tests, all.Failures, all.Skipped = all.Tests+suite.Tests, all.Failures+suite.Failures+suite.Errors, all.Skipped+suite.Skipped
		all.Suites = append(all.Suites, suite)
	}
	all.Time = seconds(took)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(all); err != nil {
		return err
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func junitOf(f *Failure) *junitFailure {
	parts := slices.DeleteFunc([]string{f.Place(), f.Message, f.Detail, f.Frame()}, func(part string) bool { return part == "" })
	return &junitFailure{Message: f.Message, Text: strings.Join(parts, "\n\n")}
}

func seconds(us int64) string { return fmt.Sprintf("%.6f", float64(us)/1e6) }

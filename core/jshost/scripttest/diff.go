package scripttest

import "strings"

const (
	diffContext = 3
	diffCells   = 4 << 20 // of the table: more is not compared line by line
)

// Diff shows two texts line by line: what is only in the first after -, only in the second after +.
// Far from any difference lines are left out.
func Diff(a, b string) string {
	x, y := strings.Split(a, "\n"), strings.Split(b, "\n")
	begin := 0
	for begin < len(x) && begin < len(y) && x[begin] == y[begin] {
		begin++
	}
	end := 0
	for end < len(x)-begin && end < len(y)-begin && x[len(x)-1-end] == y[len(y)-1-end] {
		end++
	}
	var lines []string
	for _, line := range x[:begin] {
		lines = append(lines, "  "+line)
	}
	lines = append(lines, middle(x[begin:len(x)-end], y[begin:len(y)-end])...)
	for _, line := range x[len(x)-end:] {
		lines = append(lines, "  "+line)
	}
	return strings.Join(near(lines), "\n")
}

// middle finds the longest common subsequence.
func middle(x, y []string) (lines []string) {
	if len(x)*len(y) > diffCells {
		return append(marked("- ", x), marked("+ ", y)...)
	}
	table := make([][]int32, len(x)+1)
	for i := range table {
		table[i] = make([]int32, len(y)+1)
	}
	for i := len(x) - 1; i >= 0; i-- {
		for j := len(y) - 1; j >= 0; j-- {
			if x[i] == y[j] {
				table[i][j] = table[i+1][j+1] + 1
			} else {
				table[i][j] = max(table[i+1][j], table[i][j+1])
			}
		}
	}
	i, j := 0, 0
	for i < len(x) && j < len(y) {
		switch {
		case x[i] == y[j]:
			lines = append(lines, "  "+x[i])
			i, j = i+1, j+1
		case table[i+1][j] >= table[i][j+1]:
			lines = append(lines, "- "+x[i])
			i++
		default:
			lines = append(lines, "+ "+y[j])
			j++
		}
	}
	return append(append(lines, marked("- ", x[i:])...), marked("+ ", y[j:])...)
}

func marked(mark string, lines []string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = mark + line
	}
	return out
}

// near leaves out what is far from any change.
func near(lines []string) []string {
	keep := make([]bool, len(lines))
	for i, line := range lines {
		if line[0] != ' ' {
			for j := max(i-diffContext, 0); j <= min(i+diffContext, len(lines)-1); j++ {
				keep[j] = true
			}
		}
	}
	var out []string
	for i, line := range lines {
		switch {
		case keep[i]:
			out = append(out, line)
		case i == 0 || keep[i-1]:
			out = append(out, "  …")
		}
	}
	return out
}

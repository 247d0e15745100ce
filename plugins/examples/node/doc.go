// Package node has a plugin in Node.js and the test that runs it as pipehook does. There is no Go in the
// plugin: main.js is what it does, plugin.js how a plugin speaks.
package node

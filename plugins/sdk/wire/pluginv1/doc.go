// Package pluginv1 is the first version of what pipehook and a compiled plugin say to each other, as
// plugin.proto has it. All but this file is generated from there. It knows nothing of ours.
package pluginv1

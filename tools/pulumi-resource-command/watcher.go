package main

import (
	"fmt"
	"io"
	"os/exec"
	"sync"
	"syscall"
)

// The watcher outlives a SIGKILL of this process: its standard input ends, and
// it ends the groups that still ran. A shell, since a second copy of this
// program would take longer to start than most commands take to run.
const watcherScript = `
running=' '
while read -r op group; do
    case $op in
    add) running="$running$group " ;;
    del) running="${running%% $group *} ${running#* $group }" ;;
    esac
done
[ "$running" = ' ' ] && exit 0
for group in $running; do kill -s TERM -- "-$group"; kill -s CONT -- "-$group"; done
sleep 0.5 || sleep 1
for group in $running; do kill -s KILL -- "-$group"; done
`

// watcher tells the watcher process which groups run.
type watcher struct {
	start sync.Once
	mu    sync.Mutex
	pipe  io.Writer
}

var theWatcher watcher

func (w *watcher) add(pgid int) { w.tell("add", pgid) }
func (w *watcher) del(pgid int) { w.tell("del", pgid) }

// ready starts the watcher. It comes before a command starts: a kill between
// the two would leave the command.
func (w *watcher) ready() { w.start.Do(w.launch) }

func (w *watcher) tell(op string, pgid int) {
	if w.pipe == nil {
		return // no shell: commands run unwatched
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	fmt.Fprintf(w.pipe, "%s %d\n", op, pgid)
}

func (w *watcher) launch() {
	cmd := exec.Command("/bin/sh", "-c", watcherScript)
	// Its own group: the engine signals ours. No output of ours either: the
	// engine waits until nobody holds it.
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Env = []string{"PATH=/usr/bin:/bin"}
	cmd.Dir = "/"
	pipe, err := cmd.StdinPipe()
	if err != nil || cmd.Start() != nil {
		return
	}
	w.pipe = pipe
	go func() { _ = cmd.Wait() }()
}

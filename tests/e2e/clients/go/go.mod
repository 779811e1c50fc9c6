module orders

go 1.23

require (
	github.com/coder/websocket v1.8.15
	github.com/go-stomp/stomp/v3 v3.1.5
)

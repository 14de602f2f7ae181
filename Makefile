# The two commands of the README: `make demo` and `make test`. Both do all the set-up they need.

CARGO ?= cargo

.PHONY: help setup test-setup build demo test bench figures clean

help:
	@echo "make demo     show the main job: a misbehaving backend, sidestream in front, what to try"
	@echo "make test     run every test, the ones with real clients included"
	@echo "make build    build target/release/sidestream"
	@echo "make bench    time the event-stream core by itself"
	@echo "make figures  measure disconnects, memory and CPU (beside nginx, if it is installed)"

# System packages that the build needs and a fresh machine lacks.
setup:
	@scripts/install-packages cmake:cmake cc:gcc make:make

# What the tests with real clients need on top of it.
test-setup: setup
	@scripts/install-packages curl:curl
	@scripts/python-venv

build: setup
	$(CARGO) build --release --locked

demo: build
	target/release/sidestream demo

test: test-setup
	$(CARGO) test --locked

bench: setup
	$(CARGO) bench --locked --bench event_stream

figures: setup
	@scripts/install-packages nginx:nginx-light
	$(CARGO) bench --locked --bench figures

clean:
	$(CARGO) clean
	rm -rf .venv

# The two commands of the README: `make demo` and `make test`. Both do all the set-up they need.

CARGO ?= cargo

.PHONY: help setup test-setup build demo test clients fuzz bench figures package test-package deny sbom clean

help:
	@echo "make demo     show the main job: a misbehaving backend, sidestream in front, what to try"
	@echo "make test     run every test, the ones with real clients included"
	@echo "make build    build target/release/sidestream"
	@echo "make clients  write the table of what real clients do, docs/clients.md"
	@echo "make fuzz     run the fuzzers, SECONDS=600 each"
	@echo "make bench    time the event-stream core by itself"
	@echo "make package  build the Debian package, target/debian/*.deb"
	@echo "make test-package  build it, and install, run and purge it (as root)"
	@echo "make deny     check the dependencies: licences, duplicates, sources, advisories"
	@echo "make sbom     write what the program is made of, target/package/sidestream.cdx.json"
	@echo "make figures  measure disconnects, memory and CPU (beside nginx, if it is installed)"

# System packages that the build needs and a fresh machine lacks.
setup:
	@scripts/install-packages cmake:cmake cc:gcc make:make

# What the tests with real clients need on top of it.
test-setup: setup
	@scripts/install-packages curl:curl chromium:chromium prometheus:prometheus
	@scripts/python-venv .venv tests/clients/requirements.txt
	@scripts/python-venv .venv-openai-1 tests/clients/requirements-openai-1.txt
	@scripts/node-modules tests/clients

build: setup
	$(CARGO) build --release --locked

demo: build
	target/release/sidestream demo

test: test-setup
	$(CARGO) test --locked

# Writes the table of docs/clients.md anew, from what the clients do.
clients: test-setup
	$(CARGO) build --locked
	SIDESTREAM=target/debug/sidestream .venv/bin/python tests/clients/run.py --write

# SECONDS: for each of the fuzzers.
fuzz: setup
	@scripts/install-packages c++:g++
	scripts/fuzz $(or $(SECONDS),600)

bench: setup
	$(CARGO) bench --locked --bench event_stream

figures: setup
	@scripts/install-packages nginx:nginx-light
	$(CARGO) bench --locked --bench figures

# A Debian package: the program, its units, its configuration, manual pages and completions.
package: build
	scripts/package

# Installs the package on this machine, so it is for machines that are thrown away.
test-package: package
	@scripts/install-packages lintian:lintian systemd-analyze:systemd unshare:util-linux man:man-db curl:curl
	scripts/test-package

deny:
	scripts/deny

sbom:
	scripts/sbom

clean:
	$(CARGO) clean
	rm -rf .venv .venv-openai-1 tests/clients/node_modules fuzz/target

# The two commands of the README are `make demo` and `make test`. Both do all the set-up they need. `make check` is
# the quick check during development.

CARGO ?= cargo
# Where cargo puts what it builds.
TARGET = $(or $(CARGO_TARGET_DIR),target)

.PHONY: help setup test-setup build demo check test coverage clients doctor-chains in-front-of hostile-peers networks fuzz bench bench-core instructions figures package test-package release deny sbom msrv test-boot test-image clean

help:
	@echo "make demo     run sidestream in front of misbehaving backends, with commands to try"
	@echo "make check    check formatting and lints, and run the tests that need no browser, server, npm or pip"
	@echo "make test     run all tests, including those with real clients"
	@echo "make coverage  measure which lines the tests run; FOLDER=exchange lists the uncovered ones"
	@echo "make build    build target/release/sidestream"
	@echo "make clients  test real clients and write the table of docs/clients.md"
	@echo "make doctor-chains  run the doctor on chains of other proxies, and apply its advice"
	@echo "make in-front-of  run the programs of docs/in-front-of behind their configurations, LiteLLM too"
	@echo "make hostile-peers  test how other proxies treat broken bodies, for the table of docs/security.md"
	@echo "make networks  measure lost peers, unreachable addresses and failing DNS (as root)"
	@echo "make fuzz     run each fuzzer for SECONDS=600"
	@echo "make bench    compare with other proxies side by side (needs an idle machine and 40 minutes)"
	@echo "make bench-core  benchmark the event-stream core alone"
	@echo "make instructions  count the instructions of an event and of a short stream, and check the budget"
	@echo "make package  build the Debian package, target/debian/*.deb"
	@echo "make test-package  build the package, then install, run and purge it (as root)"
	@echo "make release VERSION=X.Y.Z  build all files of a release, with checksums (RELEASING.md)"
	@echo "make msrv     check with the oldest Rust that Cargo.toml allows (needs rustup)"
	@echo "make test-boot  build the package and test it in a Debian booted with systemd (as root)"
	@echo "make test-image  build a container image and test it in podman (as root)"
	@echo "make deny     check the dependencies: licences, duplicates, sources, advisories"
	@echo "make sbom     write the bill of materials, target/package/sidestream.cdx.json"
	@echo "make figures  measure disconnects, timers, slow and hostile clients, WebSockets, and shutdown"

# System packages that the build needs and a fresh machine may lack.
setup:
	@scripts/install-packages cmake:cmake cc:gcc make:make

# Additional packages for the tests with real clients and servers. PHP is optional.
test-setup: setup
	@scripts/install-packages curl:curl chromium:chromium prometheus:prometheus
	-@scripts/install-packages ip:iproute2
	-@scripts/install-packages nginx:nginx-light 'php-fpm*:php-fpm' haproxy:haproxy
	@scripts/python-venv .venv tests/clients/requirements.txt
	@scripts/python-venv .venv-openai-1 tests/clients/requirements-openai-1.txt
	@scripts/node-modules tests/clients
	@scripts/node-modules tests/doctor
	@scripts/node-modules tests/in_front_of

build: setup
	$(CARGO) build --release --locked

demo: build
	$(TARGET)/release/sidestream demo

# The tests that run programs of `test-setup`. Each word is matched against parts of test names.
NEEDS_PROGRAMS = config::agreement_tests:: behind::real_programs real_clients:: doctor_chains:: networks:: prometheus:: live_page:: browser_http2:: websockets::real_programs in_front_of::real_programs

# Installs only what the build needs, curl for the commands of the demo, and python3 for the check of the documents. Most tests mainly wait, so more
# tests than cores run in parallel.
check: setup
	@scripts/install-packages curl:curl python3:python3
	$(CARGO) fmt --check
	$(CARGO) clippy --locked --all-targets -- -D warnings
	$(CARGO) test --locked -- --test-threads $$((4 * $$(nproc))) $(addprefix --skip ,$(NEEDS_PROGRAMS))

test: test-setup
	$(CARGO) test --locked

# Line coverage of the unit tests and tests/promises, without the tests that need programs of `test-setup`. Lines that run only in a
# separate process count as uncovered. FOLDER is a folder of src: its uncovered lines are listed.
coverage: setup
	@scripts/cargo-tool cargo-tarpaulin
	$(CARGO) tarpaulin --engine llvm --timeout 1800 --skip-clean --locked --lib --test promises --no-fail-fast \
	  --implicit-test-threads --exclude-files 'tests/*' 'benches/*' 'fuzz/*' --out Lcov --out Json \
	  --output-dir target/coverage --target-dir target/coverage/build -- $(addprefix --skip ,$(NEEDS_PROGRAMS))
	@scripts/coverage.py target/coverage/lcov.info $(FOLDER)

# Runs the clients and writes the table of docs/clients.md.
clients: test-setup
	$(CARGO) build --locked
	SIDESTREAM=target/debug/sidestream .venv/bin/python tests/clients/run.py --write

# Runs the doctor on chains of nginx, HAProxy, Caddy, Envoy, Express and FastAPI, before and after its advice is
# applied. `ARGUMENTS=--write` writes the examples of docs/troubleshooting.md; `ARGUMENTS="--clean --rounds 50"` looks
# for false findings.
doctor-chains: test-setup build
	-@scripts/python-venv .venv-peers benches/peers/requirements.txt
	@scripts/python-venv .venv-starlette-0.45 tests/doctor/requirements-starlette-0.45.txt
	@CADDY=$(CURDIR)/.venv-peers/bin/caddy .venv/bin/python tests/doctor/chains.py $(ARGUMENTS)

# `make test` runs all but LiteLLM, which takes a minute to install.
in-front-of: test-setup build
	@scripts/python-venv .venv-litellm tests/in_front_of/requirements-litellm.txt
	.venv/bin/python tests/in_front_of/run.py --only fastapi express nextjs litellm

# Runs the proxies and writes the table of docs/security.md.
hostile-peers: setup
	@scripts/install-packages nginx:nginx-light haproxy:haproxy
	$(CARGO) test --locked --test promises hostile::table -- --ignored --nocapture

# Uses network namespaces as hosts, so this needs root; otherwise it is skipped with a message. nginx, HAProxy and
# Caddy are compared if they can be installed. The second table is printed even if the first run fails.
networks: build
	@scripts/install-packages ip:iproute2 setpriv:util-linux
	-@scripts/install-packages nginx:nginx-light haproxy:haproxy
	@scripts/python-venv .venv tests/clients/requirements.txt
	-@scripts/python-venv .venv-peers benches/peers/requirements.txt
	@CADDY=$(CURDIR)/.venv-peers/bin/caddy .venv/bin/python tests/network/run.py --binary $(TARGET)/release/sidestream --peers; \
	  peers=$$?; echo; .venv/bin/python tests/network/dns.py --binary $(TARGET)/release/sidestream && exit $$peers

# SECONDS: the time for each fuzzer.
fuzz: setup
	@scripts/install-packages c++:g++
	scripts/fuzz $(or $(SECONDS),600)

# Compares with nginx, HAProxy, Caddy, Envoy and three relays of its own. What cannot be installed is skipped.
bench: setup
	-@scripts/install-packages nginx:nginx-light haproxy:haproxy
	-@scripts/python-venv .venv-peers benches/peers/requirements.txt
	CADDY=$(CURDIR)/.venv-peers/bin/caddy ENVOY="$$(scripts/envoy)" REPORT=$(or $(REPORT),target/peers.json) \
	  $(CARGO) bench --locked --bench peers -- $(SCENARIOS)

bench-core: setup
	$(CARGO) bench --locked --bench session

# Fails if a count exceeds the budget in benches/instructions.json. `WRITE=--write` rewrites the budget.
instructions: build
	@scripts/install-packages valgrind:valgrind
	python3 scripts/instructions.py $(TARGET)/release/sidestream benches/instructions.json $(WRITE)

# WebSockets are compared with nginx if it can be installed.
figures: setup
	-@scripts/install-packages nginx:nginx-light
	$(CARGO) bench --locked --bench figures

# A Debian package: the program, its units, its configuration, manual pages and shell completions.
package: build
	scripts/package

# Installs the package on this machine, so run it on a disposable one.
test-package: package
	@scripts/install-packages lintian:lintian systemd-analyze:systemd unshare:util-linux man:man-db curl:curl
	scripts/test-package

release:
	scripts/release $(VERSION)

# The minimum supported Rust version, `rust-version` in Cargo.toml.
MSRV = $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

msrv: setup
	rustup toolchain install $(MSRV) --profile minimal
	$(CARGO) +$(MSRV) check --locked --all-targets

# Runs in a systemd-nspawn container. SUITE: a Debian release other than bookworm.
test-boot: package
	scripts/test-boot $(SUITE)

test-image: build
	scripts/test-image

deny:
	scripts/deny

sbom:
	scripts/sbom

clean:
	$(CARGO) clean
	rm -rf .venv .venv-openai-1 .venv-litellm .venv-peers .venv-starlette-0.45 fuzz/target
	rm -rf tests/clients/node_modules tests/doctor/node_modules tests/in_front_of/node_modules tests/in_front_of/.next

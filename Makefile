# Every target in one line: make help.
# Only what stands on make's own command line counts: a shell may export HOST or NAME for reasons of its own. STACK is refused there, for
# the lab that it names would not be the one that is destroyed.
override TAKEN := STACK HOST UNIT CMD NAME FROM WORKLOAD REPEATS JSON REMOVE SEED MINUTES RELEASE HOSTS GONE
override BY_LAB := lab destroy passphrase status ssh logs kubeconfig bench
override GOALS := $(or $(MAKECMDGOALS),help)
ifneq ($(filter environment%,$(origin STACK)),)
ifneq ($(filter $(BY_LAB),$(GOALS)),)
$(error STACK is in the environment, and make takes it from its command line alone: 'make $(firstword $(GOALS)) STACK=$(STACK)', or 'unset STACK'. Nothing was done)
endif
endif
$(foreach name,$(TAKEN),$(if $(filter environment%,$(origin $(name))),$(eval override undefine $(name))))
# A word that means nothing here was meant to choose a lab: make would go on with the default one.
override KNOWN := $(TAKEN) YES CI FULL DESTROY_ON_FAILURE SSH_TIMEOUT_S TMPDIR LITELAB_% PIP_% GO% %_proxy %_PROXY
override STRANGE := $(filter-out $(KNOWN),$(foreach name,$(filter-out .% MAKE% -%,$(.VARIABLES)),$(if $(filter command,$(firstword $(origin $(name)))),$(name))))
ifneq ($(STRANGE),)
$(error there is no setting $(firstword $(STRANGE))=. Make takes $(TAKEN). Nothing was done)
endif
ifneq ($(and $(filter command,$(firstword $(origin STACK))),$(if $(STACK),,empty)),)
$(error STACK= names no stack: 'make $(firstword $(GOALS)) STACK=upstream-lab'. Nothing was done)
endif
STACK ?= upstream-lab
HOST ?= host-1
# Litelab's own environment (tools/environment.py), for set-up's verbs, those of labs, and any other program.
override SETUP := python3 -I tools/environment.py setup
override LABS := python3 -I tools/environment.py lab
override RUN := python3 -I tools/environment.py run
# By the environment, never as a word of a shell here: it runs on the host.
override CMD := $(value CMD)
export CMD
override SHELL := /bin/sh
.NOTPARALLEL:

.DEFAULT_GOAL := help
override TARGETS := help doctor setup lab destroy stack passphrase status ssh logs kubeconfig bench orphans check test test-full test-libvirt test-machines faults fuzz perf image clean-cache format conformance contract pins
.PHONY: $(TARGETS)
ifneq ($(filter-out $(TARGETS),$(GOALS)),)
$(error there is no target $(firstword $(filter-out $(TARGETS),$(GOALS))); 'make help' lists them. A lab is named by STACK=, as in 'make $(firstword $(filter $(TARGETS),$(GOALS)) status) STACK=$(firstword $(filter-out $(TARGETS),$(GOALS)))'. Nothing was done)
endif

help: ## this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "make %-14s %s\n", $$1, $$2 }' Makefile

doctor: ## what this machine has of what a lab needs; JSON=1 for programs
	@$(SETUP) doctor $(if $(JSON),--json)

setup: ## install and build everything a lab needs (again: seconds); STACK= for what only some labs need
	@$(SETUP) setup --stack $(STACK)

image: ## the image that libvirt guests boot, built from Debian packages
	@$(SETUP) image

lab: setup ## bring a lab up and measure it: make lab [STACK=upstream-lab]
	@$(LABS) lab $(STACK) $(if $(GONE),--gone "$(GONE)")

destroy: ## remove a lab and every trace of it; GONE=host-2 for a host that will never answer again
	@$(LABS) destroy $(STACK) $(if $(GONE),--gone "$(GONE)")

stack: setup ## another stack of a lab: make stack NAME=my FROM=upstream-lab
	@$(LABS) stack "$(NAME)" "$(FROM)"

passphrase: ## give a stack that was made with another passphrase this checkout's; asks for that one
	@$(LABS) passphrase $(STACK)

status: ## a lab's hosts and nodes
	@$(LABS) status $(STACK)

ssh: ## a shell on a host: make ssh [HOST=host-1], or CMD='uptime'
	@$(LABS) up $(STACK) "$(HOST)"
	@$(RUN) ssh -F .lab/run/$(STACK)/ssh_config $(if $(CMD),,-t) $(HOST) "$$CMD"

logs: ## pack what a lab said, without secrets; HOST=host-1 [UNIT=kubelet] shows a host's journal instead
ifeq ($(UNIT)$(filter-out file,$(origin HOST)),)
	@$(LABS) logs $(STACK)
else
	@$(LABS) up $(STACK) "$(HOST)"
	@$(RUN) components/ssh/scripts/ask.sh .lab/run/$(STACK) $(HOST) 'journalctl --no-pager -n 100 $(if $(UNIT),-u $(UNIT))'
endif

kubeconfig: ## the path of a lab's kubeconfig
	@$(LABS) kubeconfig $(STACK)

bench: ## measure again on a standing lab: make bench WORKLOAD=pods-8 [REPEATS=3]
	@$(LABS) bench $(STACK) $(or $(WORKLOAD),pods-8) --repeats $(or $(REPEATS),3)

orphans: ## what labs have left that no stack knows; REMOVE=LAB removes the one of that name
	@$(RUN) sh -c 'for script in components/*/scripts/orphans.sh components/*/*/scripts/orphans.sh; do "$$script" $(if $(REMOVE),--remove $(filter-out 1,$(REMOVE))) || status=$$?; done; [ -n "$$status" ] || echo "No lab has left anything here." >&2; exit $${status:-0}'

pins: ## look up the digests of distributions that nobody has pinned yet (needs a way out)
	@$(RUN) python3 -m tools.pin_digests

format: ## format the code
	@$(RUN) sh -c 'ruff format . && ruff check --fix .'

check: ## format, lint, types, shell, unit and graph tests, and a seeded half minute of make fuzz
	@$(SETUP) setup --group tests
	@$(RUN) sh -c 'ruff format --check . && ruff check . && mypy && shellcheck -x $$(git ls-files "*.sh" .ci/run) && pytest -n 2 tests/unit tests/graph tests/fuzz'

conformance: ## the command plugin against what pulumi-command promises
	@$(SETUP) setup --group tests
	@$(RUN) pytest tests/conformance

contract: ## what every kind of hosts promises, on real hosts of nspawn and existing; needs root
	@$(SETUP) setup --group tests
	@$(RUN) pytest -m lab tests/contract

test: ## everything, with a real lab; under an hour from nothing
	@$(RUN) tests/run-all.sh

test-full: ## make test, and every further test on real labs: benchmarks under faults, existing hosts, sites, doubles
	@$(RUN) env FULL=1 tests/run-all.sh

test-libvirt: ## real virtual machines with a libvirtd of their own; needs root, takes up to an hour without KVM
	@$(SETUP) setup --group tests --stack libvirt-lab
	@$(RUN) pytest tests/libvirt

test-machines: ## the default lab on whole machines of Debian 12 and 13, emulated without KVM; needs root, up to 90 minutes a release (RELEASE=13 HOSTS=3)
	@$(SETUP) setup --group tests
	@$(RUN) env HOSTS=$(HOSTS) pytest -s tests/machines $(if $(RELEASE),-k "Debian-$(RELEASE)")

faults: ## hurt labs in every way there is a test for, 60 and more faults, and print what came of it (hours; SEED=n repeats one)
	@$(SETUP) setup --group tests
	@$(RUN) env FAULTS_SEED=$(or $(SEED),$$(date +%s)) pytest -m faults tests/faults

fuzz: ## hand random files and outputs to everything that reads them: MINUTES=20; no crash, no traceback
	@$(SETUP) setup --group tests
	@$(RUN) env MINUTES=$(or $(MINUTES),20) python3 -m tests.fuzz

perf: ## the performance figures, side by side with plain shell, and of up to 100 workers (about 30 minutes)
	@$(RUN) sh -c 'for figure in hosts cluster warm scale; do python3 -m tests.perf.$$figure || status=$$?; done; exit $${status:-0}'

clean-cache: ## delete what make setup can make again
	@$(SETUP) clean-cache

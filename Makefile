help: ## say what there is
	@sed -n 's/^\([a-z]*\):.*## /make \1	/p' Makefile

demo: ## set up, then play the story: a message, its answer, a thief and a stranger
	@tools/demo

test: ## set up, then check everything on every target
	@tools/test

bench: ## set up, then measure what the toy costs: instructions, memory, air time
	@tools/bench

fuzz: ## feed the parsers what coverage suggests: tools/fuzz --help tells more
	@tools/fuzz

setup: ## only set up, for demo and test
	@tools/setup test

clean: ## remove what set-up, demo and tests left in this directory
	rm -rf .venv build demo-out bench-out voice-out .mypy_cache .pytest_cache .ruff_cache .hypothesis

.PHONY: help demo test bench fuzz setup clean

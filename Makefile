# Every target makes the .venv it needs, installs the package into it (editable: Python files are used where
# they lie, C sources are rebuilt when they change) and the extra that the target asks for.
#   PYTHON          interpreter to make the environment with
#   FL_TEST_EXTRAS  more extras for `make test`, e.g. FL_TEST_EXTRAS=torch runs the comparison tests
#   FL_BENCH_EXTRAS the same for `make bench`
#   PYTEST_ARGS     e.g. make test PYTEST_ARGS="-x tests/ops -k matmul"
PYTHON ?= python3
VENV ?= .venv
PYTEST_ARGS ?= -n 2 -q
FL_TEST_EXTRAS ?=
FL_BENCH_EXTRAS ?=

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
SAY := @printf '== %s\n'
C_FILES := $(wildcard $(foreach d,include src src/cpu src/program tests examples cuda cuda/tests,\
	$(addprefix cbackend/$d/*.,c h cc cu)))
BUILD_FILES := pyproject.toml functorch_like/_version.py cbackend/CMakeLists.txt cbackend/build.py \
	$(wildcard cbackend/include/* cbackend/python/*.[ch] cbackend/src/*.[ch] cbackend/src/*/*.[ch] cbackend/src/*.def cbackend/src/*/*.def)
TEST_STAMPS := $(patsubst %,$(VENV)/.extra-%,test $(FL_TEST_EXTRAS))
BENCH_STAMPS := $(patsubst %,$(VENV)/.extra-%,bench $(FL_BENCH_EXTRAS))

.PHONY: all demo examples test bench lint format c-test cuda cuda-test gpu-test gpu-bench array-api-test wheel install clean
.DELETE_ON_ERROR:
.NOTPARALLEL:
all: test

# ---- what a user runs ----
demo: $(VENV)/.package $(VENV)/.extra-demo
	$(SAY) 'training on handwritten digits'
	@$(BIN)/python examples/train_digits.py $(DEMO_ARGS)

# all of examples/ in full; EXAMPLE_ARGS=--quick for a quick look
examples: demo
	@for program in $(filter-out %/datasets.py %/serve.py %/train_digits.py,$(wildcard examples/*.py)); do \
		printf '== %s\n' $$program; $(BIN)/python $$program $(EXAMPLE_ARGS) || exit 1; done

test: $(VENV)/.package $(TEST_STAMPS)
	$(SAY) 'running the tests'
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

# OPENBLAS_CORETYPE would pin OpenBLAS to another processor's kernels
bench: $(VENV)/.package $(BENCH_STAMPS)
	$(SAY) 'running the benchmarks'
	@cd benchmarks && env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE \
		$(abspath $(BIN))/asv machine --yes >/dev/null
	@cd benchmarks && env -u OPENBLAS_CORETYPE -u OPENBLAS_L2_SIZE \
		$(abspath $(BIN))/asv run --python=same --quick --show-stderr $(BENCH_ARGS)

# ---- checks ----
lint: $(VENV)/.package $(VENV)/.extra-dev $(VENV)/.extra-test
	$(SAY) 'ruff check'
	@$(BIN)/ruff check --quiet --output-format=concise .
	$(SAY) 'ruff format'
	@$(BIN)/ruff format --quiet --check . || { $(BIN)/ruff format --diff .; exit 1; }
	$(SAY) 'pyright'
	@$(BIN)/pyright --pythonpath $(BIN)/python
	$(SAY) 'clang-format'
	@$(if $(C_FILES),$(BIN)/clang-format --dry-run -Werror $(C_FILES))
	$(SAY) 'layering'
	@$(if $(wildcard tests/test_layers.py),$(BIN)/python -m pytest -q tests/test_layers.py)

format: $(VENV)/.extra-dev
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .
	@$(if $(C_FILES),$(BIN)/clang-format -i $(C_FILES))

# The C core's own tests, under the address and undefined-behaviour sanitizers. CB_BLAS tells them where OpenBLAS lies.
c-test: $(VENV)/.package $(VENV)/.extra-dev
	$(SAY) 'building the C tests with sanitizers'
	@PATH="$(abspath $(BIN)):$$PATH" cmake -S cbackend -B build/c-test -G Ninja --log-level=WARNING \
		-DCB_TESTS=ON -DCB_EXAMPLES=ON -DCB_PYTHON=OFF -DCB_WERROR=ON -DCB_SANITIZE=ON
	@PATH="$(abspath $(BIN)):$$PATH" cmake --build build/c-test -- --quiet
	$(SAY) 'running the C tests'
	@CB_BLAS="$$($(BIN)/python -c 'import os, scipy_openblas32 as b; print(os.path.join(b.get_lib_dir(), b.get_library(fullname=True)))')" \
		$(BIN)/ctest --test-dir build/c-test --output-on-failure --progress --no-tests=error

# The CUDA kernels on a machine without a GPU: compiled for the processor, with what finds races and accesses out of
# bounds, and run by tests/cuda: with own kernels only, then with stand-ins for NVIDIA's libraries. An ordinary
# install builds none of this.
cuda-test: $(VENV)/.package $(TEST_STAMPS)
	$(SAY) 'building the emulated CUDA library'
	@PATH="$(abspath $(BIN)):$$PATH" cmake -S cbackend -B build/cuda-emulated -G Ninja --log-level=WARNING \
		-DCB_CUDA_EMULATE=ON -DCB_PYTHON=OFF -DCB_WERROR=ON
	@PATH="$(abspath $(BIN)):$$PATH" cmake --build build/cuda-emulated \
		--target cbackend_cuda_emulated nccl_stand_in stand_in_nvrtc test_emulate test_runtime -- --quiet
	$(SAY) 'running the CUDA tests on the emulated device'
	@build/cuda-emulated/test_emulate
	@build/cuda-emulated/test_runtime
	@for libraries in none $(abspath build/cuda-emulated/standins); do \
		FL_CUDA_LIBRARIES=$$libraries FL_CUDA_LIBRARY=$(abspath build/cuda-emulated/libcbackend_cuda_emulated.so) \
		$(BIN)/python -m pytest $(PYTEST_ARGS) tests/cuda || exit 1; done
	@FL_CUDA_LIBRARY=$(abspath build/cuda-emulated/libcbackend_cuda_emulated.so) \
		$(BIN)/python -m pytest $(PYTEST_ARGS) tests/distributed/test_on_cuda.py \
		tests/distributed/test_replicas.py

# libcbackend_cuda.so by nvcc, warnings as errors; registers and spills of each kernel are in build/cuda/cuda/*.txt
#   CUDA_ARGS   more for cmake, e.g. CUDA_ARGS=-DCB_CUDA_ARCHITECTURES=90 for one architecture
cuda: $(VENV)/.build-tools
	$(SAY) 'compiling the CUDA library'
	@PATH="$(abspath $(BIN)):$$PATH" cmake -S cbackend -B build/cuda -G Ninja --log-level=WARNING \
		-DCB_CUDA=ON -DCB_PYTHON=OFF -DCB_WERROR=ON $(CUDA_ARGS)
	@PATH="$(abspath $(BIN)):$$PATH" cmake --build build/cuda --target cbackend_cuda -- --quiet

# on a machine with a GPU
gpu-test: $(VENV)/.package $(TEST_STAMPS) cuda
	$(SAY) 'running the CUDA tests on the GPU'
	@FL_CUDA_LIBRARY=$(abspath build/cuda/libcbackend_cuda.so) $(BIN)/python -m pytest $(PYTEST_ARGS) -rs tests/cuda

gpu-bench: $(VENV)/.package cuda
	$(SAY) 'running the benchmarks on the GPU'
	@FL_CUDA_LIBRARY=$(abspath build/cuda/libcbackend_cuda.so) $(BIN)/python -m benchmarks.gpu

# The array API standard's own tests, fetched at fixed commits: make array-api-test ARRAY_API_ARGS="--max-examples 100"
ARRAY_API_ARGS ?= --max-examples 20
ARRAY_API_TESTS := build/array-api-tests
array-api-test: $(VENV)/.package $(ARRAY_API_TESTS)/.made
	$(SAY) 'running the tests of the array API standard'
	@cd $(ARRAY_API_TESTS) && ARRAY_API_TESTS_MODULE=functorch_like.array_api $(abspath $(BIN))/python -m pytest \
		-q --disable-deadline $(ARRAY_API_ARGS) array_api_tests

$(ARRAY_API_TESTS)/.made: $(VENV)/.extra-test
	@rm -rf $(@D)
	@git clone -q https://github.com/data-apis/array-api-tests $(@D)
	@git -C $(@D) checkout -q 55fcc60179efa2680ddd6cd926ddf17b83530e2b
	@git -C $(@D) submodule -q update --init
	@git -C $(@D)/array-api checkout -q 8884c406ff8a3b81ab836cefcacb08bc4a92ae18
	@$(PIP) install -r $(@D)/requirements.txt
	@touch $@

wheel: $(VENV)/.extra-dev
	$(SAY) 'building the sdist and the wheel'
	@$(BIN)/python -m build --outdir dist . >build/wheel.log 2>&1 || { cat build/wheel.log; exit 1; }
	@ls -lh dist

clean:
	rm -rf build dist $(VENV) .pytest_cache .ruff_cache .hypothesis benchmarks/.asv demo.png digits.safetensors
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# ---- the environment ----
install: $(VENV)/.package

$(VENV)/.made:
	$(SAY) 'making $(VENV)'
	@$(PYTHON) -m venv $(VENV)
	@touch $@

# The build's requirements live in the environment, so that a changed C file costs its own compilation only.
$(VENV)/.build-tools: $(VENV)/.made pyproject.toml
	$(SAY) 'installing the build tools'
	@$(PIP) install $$($(BIN)/python -c 'import re; text = open("pyproject.toml").read(); \
		print(*re.findall("\"(.+?)\"", re.search(r"^requires = \[(.*?)\]", text, re.M | re.S)[1]))') \
		'cmake>=3.20' ninja
	@touch $@

$(VENV)/.package: $(VENV)/.build-tools $(BUILD_FILES)
	$(SAY) 'building and installing the package (a minute the first time)'
	@PATH="$(abspath $(BIN)):$$PATH" $(PIP) install --no-build-isolation --editable .
	@touch $@

# The package is installed already, so pip adds just what the extra names.
$(VENV)/.extra-%: pyproject.toml | $(VENV)/.package
	$(SAY) 'installing what "$*" needs'
	@$(PIP) install 'functorch-like[$*]'
	@touch $@

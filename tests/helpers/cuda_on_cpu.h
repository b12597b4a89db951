// What does a kernel in CUDA C++ compute? Its own text, run on the CPU.
//
// One thread of the CPU plays all threads of a block in turn. Each of them has a stack of
// its own and runs until it has to wait: for the block (__syncthreads) or for its warp (a
// shuffle). Then the next one runs. Blocks run one after the other, so shared memory can be
// static, and an atomic addition is an addition. Whatever the order of the threads, a right
// kernel computes the same; so `backwards` lets the last thread go first, and a test
// compares.
//
// Threads that wait for others that never come, because they have ended or wait elsewhere,
// are a mistake that a GPU answers with a hang or with nonsense. Here it is an error.

#include <setjmp.h>
#include <ucontext.h>

#include <cmath>
#include <cstddef>
#include <cstring>
#include <functional>
#include <limits>
#include <memory>
#include <utility>
#include <vector>

using std::fabs, std::sqrt, std::exp, std::log, std::tanh, std::erf, std::isinf, std::isnan;
using std::fmax, std::fmin, std::pow, std::floor, std::log1p, std::expm1, std::isfinite;

#define __global__
#define __device__ static inline
#define __shared__ static
#define __forceinline__
#define __launch_bounds__(...)

struct Position {
    unsigned int x = 0, y = 0, z = 0;
};

static Position threadIdx, blockIdx;
static Position blockDim, gridDim;

namespace playing {

constexpr int warp = 32;
constexpr size_t stack_size = 32 * 1024;

enum State { running, waits_for_warp, waits_for_block, ended };

struct Thread {
    ucontext_t beginning;
    jmp_buf place;  // where it goes on; far quicker than a switch of contexts
    State state = running;
    bool has_begun = false;
    double offered = 0;  // in a shuffle
    std::unique_ptr<char[]> stack{new char[stack_size]};
};

static std::vector<Thread> *threads;
static jmp_buf scheduler;
static std::function<void()> body;
static unsigned int current;

// Leave the processor to the other threads until all have come as far.
static void wait(State how) {
    Thread &self = (*threads)[current];
    self.state = how;
    if (!_setjmp(self.place))
        _longjmp(scheduler, 1);
}

static void run_body() {
    body();
    (*threads)[current].state = ended;
    _longjmp(scheduler, 1);
}

static bool all_of(unsigned int first, unsigned int last, State state) {
    for (unsigned int i = first; i < last; i++)
        if ((*threads)[i].state != state)
            return false;
    return true;
}

// Let those go on that have waited for each other. False if nobody can.
static bool release() {
    const unsigned int count = threads->size();
    bool any = false;
    for (unsigned int first = 0; first < count; first += warp)
        if (all_of(first, first + warp, waits_for_warp)) {
            for (unsigned int i = first; i < first + warp; i++)
                (*threads)[i].state = running;
            any = true;
        }
    if (all_of(0, count, waits_for_block)) {
        for (Thread &thread : *threads)
            thread.state = running;
        any = true;
    }
    return any;
}

__attribute__((noinline)) static void resume(unsigned int index) {
    current = index;
    threadIdx.x = index;
    Thread &thread = (*threads)[index];
    if (_setjmp(scheduler))
        return;  // the thread waits or has ended
    if (thread.has_begun)
        _longjmp(thread.place, 1);
    thread.has_begun = true;
    setcontext(&thread.beginning);
}

// 0 if all threads of the block came to their end.
static int play_block(bool backwards) {
    std::vector<Thread> &all = *threads;
    const unsigned int count = all.size();
    for (Thread &thread : all) {
        thread.state = running;
        thread.has_begun = false;
        getcontext(&thread.beginning);
        thread.beginning.uc_stack.ss_sp = thread.stack.get();
        thread.beginning.uc_stack.ss_size = stack_size;
        thread.beginning.uc_link = nullptr;
        makecontext(&thread.beginning, run_body, 0);
    }
    do {
        for (unsigned int i = 0; i < count; i++) {
            const unsigned int index = backwards ? count - 1 - i : i;
            if (all[index].state == running)
                resume(index);
        }
    } while (release());
    return all_of(0, count, ended) ? 0 : 1;
}

template <class Type>
Type argument(const void *value) {
    Type made;
    memcpy(&made, value, sizeof made);
    return made;
}

template <class... Types, size_t... Places>
void call(void (*kernel)(Types...), const long long *values, std::index_sequence<Places...>) {
    kernel(argument<Types>(values + Places)...);
}

// Every argument of a kernel has eight bytes: a pointer, a `long long` or a `double`.
template <class... Types>
int play(void (*kernel)(Types...), unsigned int blocks, unsigned int threads_of_block,
         const long long *values, bool backwards) {
    static_assert(((sizeof(Types) == 8) && ...), "every argument has eight bytes");
    gridDim.x = blocks, blockDim.x = threads_of_block;
    gridDim.y = gridDim.z = blockDim.y = blockDim.z = 1;
    std::vector<Thread> all(threads_of_block);
    threads = &all;
    body = [=] { call(kernel, values, std::index_sequence_for<Types...>{}); };
    for (unsigned int i = 0; i < blocks; i++) {
        blockIdx.x = backwards ? blocks - 1 - i : i;
        if (play_block(backwards))
            return 1;
    }
    return 0;
}

template <class Type>
Type shuffle(Type value, unsigned int from) {
    (*threads)[current].offered = value;
    wait(waits_for_warp);
    const Type received = (*threads)[from].offered;
    wait(waits_for_warp);  // nobody offers the next value before all have read
    return received;
}

}  // namespace playing

__device__ void __syncthreads() {
    playing::wait(playing::waits_for_block);
}

__device__ void __syncwarp(unsigned int = 0xffffffff) {
    playing::wait(playing::waits_for_warp);
}

template <class Type>
__device__ Type __shfl_xor_sync(unsigned int, Type value, int distance) {
    return playing::shuffle(value, playing::current ^ distance);
}

template <class Type>
__device__ Type __shfl_down_sync(unsigned int, Type value, int distance) {
    const unsigned int lane = playing::current % playing::warp;
    const bool is_inside = lane + distance < playing::warp;
    return playing::shuffle(value, playing::current + (is_inside ? distance : 0));
}

template <class Type>
__device__ Type __shfl_sync(unsigned int, Type value, int lane) {
    return playing::shuffle(value, playing::current / playing::warp * playing::warp + lane);
}

template <class Type>
__device__ Type atomicAdd(Type *target, Type value) {
    const Type before = *target;
    *target += value;
    return before;
}

template <class Type>
__device__ Type rsqrt(Type value) {
    return 1 / sqrt(value);
}

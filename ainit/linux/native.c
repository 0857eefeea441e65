/*
 * What PID 1 cannot do in Python: start a process in one system call, and survive its own faults.
 *
 * Starting: the kernel puts the child into its cgroup and writes its pid into the journal before
 * the child runs. The child shares PID 1's memory until execve (vfork), or has a copy, and works
 * off a list of system calls that Python made. It must not touch the C library's state: errno and
 * thread-local storage are PID 1's. Hence the plain system calls.
 *
 * Faults: a handler on a stack of its own executes PID 1 anew, with the same pid and children. All
 * that it needs was copied to static memory before. A loop without end is a fault, too: Python
 * itself has one when it cannot even make an integer. Leaves out what state the new image finds:
 * that is the journal's.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <unistd.h>

#define EXPORT __attribute__((visibility("default")))
#define CALL(number, ...) call(number, (const long[6]){__VA_ARGS__})
#define LENGTH(array) (sizeof(array) / sizeof(array)[0])
#define BIT(number) (1UL << ((number)-1))

enum { EXEC_FAILED = 203, SIGNALS = 64, MASK_BYTES = 8 };
enum { MAY_FAIL = 1, FIRST_IS_RESULT = 2 }; /* operation.flags */
enum { PID_TEXT = -1 };                     /* operation.number: write the pid in decimal to [0] */

struct operation {
    long number;
    long arguments[6];
    long flags;
    const char *what; /* for the message when it fails */
};

struct job {
    const struct operation *operations; /* the last one is execve */
    unsigned long count;
    const char *program; /* for messages */
    long shared;         /* share memory with the parent, which sleeps until execve */
    long cgroup;         /* descriptor of the cgroup's directory, or -1 */
    int *pid;            /* where the kernel writes the child's pid */
    long share_files;    /* share the table of descriptors until the child takes one of its own */
    long namespaces;     /* those of clone3(2) that the child begins in: CLONE_NEWPID */
};

/* The numbers that Python needs, in the order of native.py. */
EXPORT const long ainit_calls[] = {
    SYS_openat, SYS_write, SYS_close, SYS_dup3, SYS_close_range, SYS_setsid, SYS_umask, SYS_chdir,
    SYS_execve, SYS_prctl, SYS_capset, SYS_setgroups, SYS_setresgid, SYS_setresuid,
    SYS_setpriority, SYS_prlimit64, SYS_rt_sigprocmask, SYS_unshare, SYS_mount, SYS_umount2,
    SYS_pivot_root, SYS_mkdirat, SYS_mknodat, SYS_symlinkat, SYS_mount_setattr, SYS_sethostname,
    SYS_socket, SYS_ioctl, SYS_seccomp, SYS_landlock_create_ruleset, SYS_landlock_add_rule,
    SYS_landlock_restrict_self, SYS_setsockopt, SYS_bind, SYS_listen, SYS_sendmsg,
};

/* The faults, and signal masks in the kernel's form. A fault that is blocked ends the process. */
static const int FAULTS[] = {SIGSEGV, SIGBUS, SIGABRT, SIGILL, SIGFPE, SIGSYS, SIGTRAP};
#define FAULT_BITS                                                                                 \
    (BIT(SIGSEGV) | BIT(SIGBUS) | BIT(SIGABRT) | BIT(SIGILL) | BIT(SIGFPE) | BIT(SIGSYS) |         \
     BIT(SIGTRAP))
static const unsigned long NONE = 0, THE_FAULTS = FAULT_BITS, ALL_OTHERS = ~FAULT_BITS;

static char child_stack[32 << 10] __attribute__((aligned(16)));

/* A system call: its result, or minus errno. */
static long call(long number, const long arguments[6])
{
#if defined(__x86_64__)
    register long fourth __asm__("r10") = arguments[3];
    register long fifth __asm__("r8") = arguments[4];
    register long sixth __asm__("r9") = arguments[5];
    long result;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "0"(number), "D"(arguments[0]), "S"(arguments[1]), "d"(arguments[2]),
                       "r"(fourth), "r"(fifth), "r"(sixth)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long code __asm__("x8") = number;
    register long first __asm__("x0") = arguments[0];
    register long second __asm__("x1") = arguments[1];
    register long third __asm__("x2") = arguments[2];
    register long fourth __asm__("x3") = arguments[3];
    register long fifth __asm__("x4") = arguments[4];
    register long sixth __asm__("x5") = arguments[5];
    __asm__ volatile("svc #0"
                     : "+r"(first)
                     : "r"(code), "r"(second), "r"(third), "r"(fourth), "r"(fifth), "r"(sixth)
                     : "memory");
    return first;
#else
#error "a processor that AINOS does not know"
#endif
}

/* clone3: the parent gets the result, the child runs `run` and never returns. */
static long clone_into(struct clone_args *clone, void (*run)(const struct job *),
                       const struct job *job)
{
#if defined(__x86_64__)
    register void (*kept)(const struct job *) __asm__("r12") = run;
    register const struct job *argument __asm__("r13") = job;
    long result;
    __asm__ volatile("syscall\n\ttest %%rax, %%rax\n\tjnz 1f\n\t"
                     "xor %%ebp, %%ebp\n\tand $-16, %%rsp\n\t"
                     "mov %[job], %%rdi\n\tcall *%[run]\n\tud2\n1:"
                     : "=a"(result)
                     : "0"(SYS_clone3), "D"(clone), "S"(sizeof *clone), [run] "r"(kept),
                       [job] "r"(argument)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long code __asm__("x8") = SYS_clone3;
    register long first __asm__("x0") = (long)clone;
    register long second __asm__("x1") = sizeof *clone;
    register void (*kept)(const struct job *) __asm__("x19") = run;
    register const struct job *argument __asm__("x20") = job;
    __asm__ volatile("svc #0\n\tcbnz x0, 1f\n\tmov x29, xzr\n\t"
                     "mov x0, %[job]\n\tblr %[run]\n\tbrk #0\n1:"
                     : "+r"(first)
                     : "r"(code), "r"(second), [run] "r"(kept), [job] "r"(argument)
                     : "memory");
    return first;
#endif
}

/* Append text and return the new end; what does not fit is left out. */
static char *append(char *to, const char *end, const char *text)
{
    while (*text != '\0' && to < end)
        *to++ = *text++;
    return to;
}

/* Append a number that is not negative, in decimal. */
static char *append_number(char *to, const char *end, long number)
{
    char digits[24], *first = digits + sizeof digits - 1;
    *first = '\0';
    do
        *--first = (char)('0' + number % 10);
    while (number /= 10);
    return append(to, end, first);
}

/* The kernel's form of sigaction, all zero: the default, no flags, nothing masked. */
static void set_default(int number)
{
    static const unsigned long action[4];
    CALL(SYS_rt_sigaction, number, (long)action, 0, MASK_BYTES);
}

static void set_mask(const unsigned long *mask, unsigned long *before)
{
    CALL(SYS_rt_sigprocmask, SIG_SETMASK, (long)mask, (long)before, MASK_BYTES);
}

static void fail(const struct job *job, const char *what, long error)
{
    char message[512];
    const char *end = message + sizeof message - 1; /* a place for the newline */
    const char *words = strerrordesc_np((int)error); /* from a table: nothing is allocated */
    char *to = append(append(message, end, "cannot start "), end, job->program);
    to = append(append(append(to, end, ": "), end, what), end, ": ");
    to = words ? append(to, end, words) : append_number(append(to, end, "error "), end, error);
    *to++ = '\n';
    CALL(SYS_write, STDERR_FILENO, (long)message, to - message);
    for (;;)
        CALL(SYS_exit_group, EXEC_FAILED);
}

static void run_child(const struct job *job)
{
    long result = 0;
    /* Handlers are gone already (CLONE_CLEAR_SIGHAND), but what is ignored would stay so. */
    for (int number = 1; number <= SIGNALS; number++)
        set_default(number);
    for (unsigned long i = 0; i < job->count; i++) {
        const struct operation *each = &job->operations[i];
        long arguments[6];
        memcpy(arguments, each->arguments, sizeof arguments);
        if (each->flags & FIRST_IS_RESULT)
            arguments[0] = result;
        if (each->number == PID_TEXT) {
            char *text = (char *)arguments[0];
            *append_number(text, text + 20, CALL(SYS_getpid, 0)) = '\0';
        } else {
            result = call(each->number, arguments);
            if (result < 0 && !(each->flags & MAY_FAIL))
                fail(job, each->what, -result);
        }
    }
    fail(job, "execve", ENOSYS);
}

/* Start a process; returns its pid, or minus errno when there is none. */
EXPORT long ainit_spawn(const struct job *job)
{
    unsigned long before;
    struct clone_args clone = {
        .flags = CLONE_CLEAR_SIGHAND | CLONE_PARENT_SETTID | (unsigned long)job->namespaces,
        .parent_tid = (unsigned long)job->pid,
        .exit_signal = SIGCHLD,
    };
    if (job->shared) {
        clone.flags |= CLONE_VM | CLONE_VFORK;
        clone.stack = (unsigned long)child_stack;
        clone.stack_size = sizeof child_stack;
    }
    if (job->share_files)
        clone.flags |= CLONE_FILES;
    if (job->cgroup >= 0) {
        clone.flags |= CLONE_INTO_CGROUP;
        clone.cgroup = (unsigned long)job->cgroup;
    }
    set_mask(&ALL_OTHERS, &before);
    long result = clone_into(&clone, run_child, job);
    set_mask(&before, NULL);
    return result;
}

static const char FAULT[] = "--fault=";

/* What execve gets, copied by ainit_arm; the last argument says why. */
static char *arguments_copy[66], *environment_copy[257], texts[64 << 10];
static char fault[sizeof FAULT + 512];
static char handler_stack[64 << 10] __attribute__((aligned(16)));
static long armed; /* the pid that is to be executed anew; 0: none */

/* Seconds of processor time since the loop last turned, and how many it may be. */
EXPORT volatile int ainit_spent;
static int spent_most;

/* Execute this process anew; returns minus errno when that fails, twice. NULL: no memory. */
EXPORT long ainit_reexec(const char *reason)
{
    static const struct itimerval never; /* a timer outlives execve, its handler does not */
    unsigned long before;
    long result = 0;
    if (armed == 0)
        return -EINVAL;
    CALL(SYS_setitimer, ITIMER_PROF, (long)&never, 0);
    char *to = append(fault, fault + sizeof fault - 1, FAULT);
    *append(to, fault + sizeof fault - 1, reason ? reason : "MemoryError") = '\0';
    set_mask(&NONE, &before);
    for (int i = 0; i < 2; i++)
        result = CALL(SYS_execve, (long)arguments_copy[0], (long)arguments_copy,
                      (long)environment_copy);
    set_mask(&before, NULL);
    return result;
}

static void on_fault(int number)
{
    char reason[32] = "signal ";
    long self = CALL(SYS_getpid, 0);
    for (size_t i = 0; i < LENGTH(FAULTS); i++)
        set_default(FAULTS[i]); /* a fault in here ends it */
    *append_number(reason + strlen(reason), reason + sizeof reason - 1, number) = '\0';
    if (self == armed)
        ainit_reexec(reason);
    CALL(SYS_kill, self, number); /* the namespace's init does not die of this, but of that: */
    __builtin_trap();
}

static void on_second_spent(int number)
{
    (void)number;
    if (CALL(SYS_getpid, 0) == armed && ++ainit_spent > spent_most)
        ainit_reexec("stuck");
}

/* From now on, more than so many seconds of processor time without setting ainit_spent to 0 are a
   fault, too: what is armed is executed anew. Returns 0, or minus errno. */
EXPORT int ainit_limit(int seconds)
{
    const struct sigaction action = {.sa_handler = on_second_spent,
                                     .sa_flags = SA_ONSTACK | SA_RESTART};
    const struct itimerval each = {{1, 0}, {1, 0}};
    spent_most = seconds;
    ainit_spent = 0;
    if (sigaction(SIGPROF, &action, NULL) != 0 || setitimer(ITIMER_PROF, &each, NULL) != 0)
        return -errno;
    return 0;
}

static void on_exit_of_process(void)
{
    if (armed != 0 && CALL(SYS_getpid, 0) == armed)
        ainit_reexec("exit");
}

/* Copy a vector of strings; returns where the next text goes, or NULL when it does not fit. */
static char *copy(char **to, size_t places, char *text, char *const from[])
{
    for (; *from != NULL; from++, places--) {
        size_t size = strlen(*from) + 1;
        if (places == 1 || text == NULL || size > (size_t)(texts + sizeof texts - text))
            return NULL;
        *to++ = memcpy(text, *from, size);
        text += size;
    }
    *to = NULL;
    return text;
}

/* From now on a fault or an exit executes argv[0] anew. Returns 0, or minus errno. */
EXPORT int ainit_arm(char *const argv[], char *const envp[])
{
    static int hooked;
    const stack_t stack = {.ss_sp = handler_stack, .ss_size = sizeof handler_stack};
    struct sigaction action = {.sa_handler = on_fault, .sa_flags = SA_ONSTACK | SA_NODEFER};
    armed = 0;
    char *text = copy(arguments_copy, LENGTH(arguments_copy) - 1, texts, argv);
    if (text == NULL || copy(environment_copy, LENGTH(environment_copy), text, envp) == NULL)
        return -E2BIG;
    char **last = arguments_copy;
    while (*last != NULL)
        last++;
    if (last == arguments_copy)
        return -EINVAL;
    *last++ = fault;
    *last = NULL;
    if (sigaltstack(&stack, NULL) != 0)
        return -errno;
    for (size_t i = 0; i < LENGTH(FAULTS); i++)
        if (sigaction(FAULTS[i], &action, NULL) != 0)
            return -errno;
    CALL(SYS_rt_sigprocmask, SIG_UNBLOCK, (long)&THE_FAULTS, 0, MASK_BYTES);
    if (!hooked && atexit(on_exit_of_process) != 0)
        return -ENOMEM;
    hooked = 1;
    armed = getpid();
    return 0;
}

/* Let faults and exits be what they were. */
EXPORT void ainit_disarm(void)
{
    armed = 0;
    for (size_t i = 0; i < LENGTH(FAULTS); i++)
        set_default(FAULTS[i]);
}

/*
 * switch_x86_64: the context switch for the System V ABI. Saved are rbx, rbp, r12-r15, the control bits of
 * mxcsr and the x87 control word; all else is the caller's by the ABI. Loading a control register costs more
 * than comparing it, so both are loaded only when they differ.
 *
 * The object is marked for indirect branch tracking (every entry is an endbr64, the jump back is not tracked),
 * not for shadow stacks: a switch goes on where another stack was left, and returns from there. The linker
 * therefore leaves shadow stacks off for the whole program.
 *
 * A saved stack, from its pointer upwards: mxcsr and control word (8 bytes), r15 r14 r13 r12 rbx rbp, return address.
 */
    .text

    .globl mu_ctx_switch
    .type mu_ctx_switch, @function
    .p2align 4
mu_ctx_switch:
    .cfi_startproc
    endbr64
    pushq %rbp
    .cfi_adjust_cfa_offset 8
    pushq %rbx
    .cfi_adjust_cfa_offset 8
    pushq %r12
    .cfi_adjust_cfa_offset 8
    pushq %r13
    .cfi_adjust_cfa_offset 8
    pushq %r14
    .cfi_adjust_cfa_offset 8
    pushq %r15
    .cfi_adjust_cfa_offset 8
    subq $8, %rsp
    .cfi_adjust_cfa_offset 8
    stmxcsr (%rsp)
    fnstcw 4(%rsp)
    movl (%rsp), %eax
    movzwl 4(%rsp), %ecx
    movq %rsp, (%rdi)
    movq %rsi, %rsp
    xorl (%rsp), %eax
    testl $0xffffffc0, %eax     /* the low six bits are sticky flags */
    jne 2f
1:  cmpw 4(%rsp), %cx
    jne 3f
4:  .cfi_remember_state
    addq $8, %rsp
    .cfi_adjust_cfa_offset -8
    popq %r15
    .cfi_adjust_cfa_offset -8
    popq %r14
    .cfi_adjust_cfa_offset -8
    popq %r13
    .cfi_adjust_cfa_offset -8
    popq %r12
    .cfi_adjust_cfa_offset -8
    popq %rbx
    .cfi_adjust_cfa_offset -8
    popq %rbp
    .cfi_adjust_cfa_offset -8
    popq %rcx                   /* not `ret`: the return stack would mispredict each time */
    .cfi_adjust_cfa_offset -8
    .cfi_register rip, rcx
    notrack jmp *%rcx
    .cfi_restore_state
2:  ldmxcsr (%rsp)
    jmp 1b
3:  fldcw 4(%rsp)
    jmp 4b
    .cfi_endproc
    .size mu_ctx_switch, . - mu_ctx_switch

    /* The first switch to a stack returns to here, with the function in rbx and its argument in r12. */
    .type ctx_start, @function
    .p2align 4
ctx_start:
    .cfi_startproc
    .cfi_undefined rip
    endbr64
    movq %r12, %rdi
    callq *%rbx
    ud2
    .cfi_endproc
    .size ctx_start, . - ctx_start

    .globl mu_ctx_prepare
    .type mu_ctx_prepare, @function
    .p2align 4
mu_ctx_prepare:
    .cfi_startproc
    endbr64
    andq $-16, %rdi
    leaq -80(%rdi), %rax
    movq $0, (%rax)
    stmxcsr (%rax)
    fnstcw 4(%rax)
    movq $0, 8(%rax)
    movq $0, 16(%rax)
    movq $0, 24(%rax)
    movq %rdx, 32(%rax)         /* r12 */
    movq %rsi, 40(%rax)         /* rbx */
    movq $0, 48(%rax)           /* rbp: ends chains of frames */
    leaq ctx_start(%rip), %rcx
    movq %rcx, 56(%rax)
    movq $0, 64(%rax)
    movq $0, 72(%rax)
    ret
    .cfi_endproc
    .size mu_ctx_prepare, . - mu_ctx_prepare

    .globl mu_ctx_call
    .type mu_ctx_call, @function
    .p2align 4
mu_ctx_call:
    .cfi_startproc
    endbr64
    pushq %rbp
    .cfi_def_cfa_offset 16
    .cfi_offset rbp, -16
    movq %rsp, %rbp
    .cfi_def_cfa_register rbp
    andq $-16, %rdi
    movq %rdi, %rsp
    movq %rdx, %rdi
    callq *%rsi
    movq %rbp, %rsp
    popq %rbp
    .cfi_def_cfa rsp, 8
    ret
    .cfi_endproc
    .size mu_ctx_call, . - mu_ctx_call

    .section .note.GNU-stack, "", @progbits
    .section .note.gnu.property, "a", @note
    .p2align 3
    .long 4, 16, 5              /* name and content sizes, NT_GNU_PROPERTY_TYPE_0 */
    .asciz "GNU"
    .long 0xc0000002, 4, 1, 0   /* GNU_PROPERTY_X86_FEATURE_1_AND: IBT */

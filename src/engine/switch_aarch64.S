/*
 * switch_aarch64: the context switch for the AAPCS64. Saved are x19-x30, the low halves of v8-v15 (d8-d15) and
 * fpcr, which is loaded only when it differs; all else is the caller's by the ABI. Every entry is a landing pad
 * (hint 34: bti c); return addresses are not signed, they never leave the two stacks of a switch.
 *
 * A saved stack, from its pointer upwards: x19..x30 (96 bytes), d8..d15 (64 bytes), fpcr, a spare word.
 */
    .text

    .globl mu_ctx_switch
    .type mu_ctx_switch, %function
    .p2align 4
mu_ctx_switch:
    .cfi_startproc
    hint #34
    sub sp, sp, #176
    stp x19, x20, [sp, #0]
    stp x21, x22, [sp, #16]
    stp x23, x24, [sp, #32]
    stp x25, x26, [sp, #48]
    stp x27, x28, [sp, #64]
    stp x29, x30, [sp, #80]
    stp d8, d9, [sp, #96]
    stp d10, d11, [sp, #112]
    stp d12, d13, [sp, #128]
    stp d14, d15, [sp, #144]
    mrs x10, fpcr
    str x10, [sp, #160]
    mov x9, sp
    str x9, [x0]
    mov sp, x1
    ldr x11, [sp, #160]
    cmp x10, x11
    b.ne 2f
1:  ldp x19, x20, [sp, #0]
    ldp x21, x22, [sp, #16]
    ldp x23, x24, [sp, #32]
    ldp x25, x26, [sp, #48]
    ldp x27, x28, [sp, #64]
    ldp x29, x30, [sp, #80]
    ldp d8, d9, [sp, #96]
    ldp d10, d11, [sp, #112]
    ldp d12, d13, [sp, #128]
    ldp d14, d15, [sp, #144]
    add sp, sp, #176
    ret
2:  msr fpcr, x11
    b 1b
    .cfi_endproc
    .size mu_ctx_switch, . - mu_ctx_switch

    /* The first switch to a stack returns to here, with the function in x19 and its argument in x20. */
    .type ctx_start, %function
    .p2align 4
ctx_start:
    .cfi_startproc
    .cfi_undefined x30
    hint #34
    mov x0, x20
    blr x19
    brk #1
    .cfi_endproc
    .size ctx_start, . - ctx_start

    .globl mu_ctx_prepare
    .type mu_ctx_prepare, %function
    .p2align 4
mu_ctx_prepare:
    .cfi_startproc
    hint #34
    and x0, x0, #-16
    sub x0, x0, #192
    stp x1, x2, [x0, #0]
    stp xzr, xzr, [x0, #16]
    stp xzr, xzr, [x0, #32]
    stp xzr, xzr, [x0, #48]
    stp xzr, xzr, [x0, #64]
    adr x9, ctx_start
    stp xzr, x9, [x0, #80]
    stp xzr, xzr, [x0, #96]
    stp xzr, xzr, [x0, #112]
    stp xzr, xzr, [x0, #128]
    stp xzr, xzr, [x0, #144]
    mrs x10, fpcr
    stp x10, xzr, [x0, #160]
    stp xzr, xzr, [x0, #176]
    ret
    .cfi_endproc
    .size mu_ctx_prepare, . - mu_ctx_prepare

    .globl mu_ctx_call
    .type mu_ctx_call, %function
    .p2align 4
mu_ctx_call:
    .cfi_startproc
    hint #34
    stp x29, x30, [sp, #-16]!
    .cfi_def_cfa_offset 16
    .cfi_offset x29, -16
    .cfi_offset x30, -8
    mov x29, sp
    .cfi_def_cfa_register x29
    and x0, x0, #-16
    mov sp, x0
    mov x0, x2
    blr x1
    mov sp, x29
    ldp x29, x30, [sp], #16
    .cfi_def_cfa sp, 0
    ret
    .cfi_endproc
    .size mu_ctx_call, . - mu_ctx_call

    .section .note.GNU-stack, "", %progbits
    .section .note.gnu.property, "a", %note
    .p2align 3
    .word 4, 16, 5              /* name and content sizes, NT_GNU_PROPERTY_TYPE_0 */
    .asciz "GNU"
    .word 0xc0000000, 4, 1, 0   /* GNU_PROPERTY_AARCH64_FEATURE_1_AND: BTI */

# The guest of kvm.py: from a boot sector into long mode with paging, as a kernel goes, then K on the first serial port. Before that an
# instruction of BMI2, where the processor has it, which kernels unpack themselves with: a KVM that interprets kernels' instructions, as
# in a guest without nested virtualization, does not know it, and stops the guest.
#   as --64 kvm.S -o kvm.o && ld -m elf_x86_64 -Ttext 0x7c00 --oformat binary -o kvm.bin kvm.o && xxd -p -c 50 kvm.bin
.code16
.globl _start
_start:
  cli
  xorw %ax, %ax
  movw %ax, %ds
  movw %ax, %es
  movl $0x1000, %edi
  movl %edi, %cr3
  xorl %eax, %eax
  movl $3072, %ecx
  cld
  rep stosl
  movl $0x2003, 0x1000
  movl $0x3003, 0x2000
  movl $0x83, 0x3000
  movl %cr4, %eax
  orl $0x20, %eax
  movl %eax, %cr4
  movl $0xC0000080, %ecx
  rdmsr
  orl $0x100, %eax
  wrmsr
  movl %cr0, %eax
  orl $0x80000001, %eax
  movl %eax, %cr0
  lgdtl gdtp
  ljmp $8, $long
.code64
long:
  xorl %eax, %eax
  cpuid
  cmpl $7, %eax
  jb 2f
  movl $7, %eax
  xorl %ecx, %ecx
  cpuid
  btl $8, %ebx
  jnc 2f
  shlxl %ecx, %ebx, %eax
2:
  movw $0x3f8, %dx
  movb $'K', %al
  outb %al, %dx
  movb $10, %al
  outb %al, %dx
1: hlt
  jmp 1b
.balign 8
gdt: .quad 0, 0x00209A0000000000
gdtp: .word 15
  .long gdt

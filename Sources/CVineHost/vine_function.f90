! vine_function.h for Fortran: compile this file together with yours.
!
!     integer(c_int) function twice(call) bind(C)
!       use vine_function
!       type(vine_call), intent(inout) :: call
!       real(c_double) :: x
!       character(:), allocatable :: given
!       character(32) :: text
!       integer :: problem
!       given = vine_elements(call)
!       read (given, *, iostat=problem) x
!       if (problem /= 0) then
!         twice = vine_fail(call, 'one number, please')
!         return
!       end if
!       write (text, '(es24.16)') 2 * x
!       twice = vine_put(call, text)
!     end function
module vine_function
  use, intrinsic :: iso_c_binding
  implicit none

  type, bind(C) :: vine_call
    integer(c_int32_t) :: version
    integer(c_int32_t) :: is_bytes
    type(c_ptr) :: context
    type(c_ptr) :: arguments
    integer(c_size_t) :: argument_count
    type(c_ptr) :: result
    integer(c_size_t) :: result_count
    integer(c_size_t) :: result_room
    type(c_ptr) :: error
    integer(c_size_t) :: error_room
    type(c_ptr) :: directory
    type(c_funptr) :: reserve
    type(c_ptr) :: host
  end type

  abstract interface
    function vine_reserve(call, room) bind(C) result(place)
      import :: vine_call, c_size_t, c_ptr
      type(vine_call), intent(inout) :: call
      integer(c_size_t), value :: room
      type(c_ptr) :: place
    end function
  end interface

contains

  ! The text of the arguments, a JSON array.
  function vine_arguments(call) result(text)
    type(vine_call), intent(in) :: call
    character(:), allocatable :: text
    character(kind=c_char), pointer :: bytes(:)
    integer :: i
    call c_f_pointer(call%arguments, bytes, [call%argument_count])
    allocate (character(int(call%argument_count)) :: text)
    do i = 1, len(text)
      text(i:i) = bytes(i)
    end do
  end function

  ! What is between its brackets: numbers and texts can be read from it with format *.
  function vine_elements(call) result(text)
    type(vine_call), intent(in) :: call
    character(:), allocatable :: text
    text = vine_arguments(call)
    text = text(index(text, '[') + 1:index(text, ']', back=.true.) - 1)
    if (len(text) == 0) text = ' '
  end function

  ! Appends to the result, without blanks around it: 0, or 1 without memory.
  function vine_put(call, text) result(status)
    type(vine_call), intent(inout) :: call
    character(*), intent(in) :: text
    integer(c_int) :: status
    procedure(vine_reserve), pointer :: reserve
    character(kind=c_char), pointer :: bytes(:)
    character(:), allocatable :: trimmed
    integer(c_size_t) :: needed
    integer :: i
    trimmed = trim(adjustl(text))
    needed = call%result_count + len(trimmed)
    status = 0
    if (needed > call%result_room) then
      call c_f_procpointer(call%reserve, reserve)
      if (.not. c_associated(reserve(call, needed))) then
        status = vine_fail(call, 'no memory for the result')
        return
      end if
    end if
    call c_f_pointer(call%result, bytes, [needed])
    do i = 1, len(trimmed)
      bytes(call%result_count + i) = trimmed(i:i)
    end do
    call%result_count = needed
  end function

  ! Leaves an error text; 1, to be returned.
  function vine_fail(call, text) result(status)
    type(vine_call), intent(inout) :: call
    character(*), intent(in) :: text
    integer(c_int) :: status
    character(kind=c_char), pointer :: bytes(:)
    integer :: i, count
    count = min(len(text), int(call%error_room) - 1)
    call c_f_pointer(call%error, bytes, [call%error_room])
    do i = 1, count
      bytes(i) = text(i:i)
    end do
    bytes(count + 1) = c_null_char
    status = 1
  end function
end module

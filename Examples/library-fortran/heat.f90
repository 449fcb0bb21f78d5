! The temperature in the middle of a heated rod.
integer(c_int) function warm_up(call) bind(C)
  ! The context: the rod's conductivity, in memory that lives as long as the instance.
  use vine_function
  type(vine_call), intent(inout) :: call
  real(c_double), pointer :: conductivity
  character(:), allocatable :: given
  integer :: problem
  allocate (conductivity)
  given = vine_elements(call)
  read (given, *, iostat=problem) conductivity
  if (problem /= 0) then
    warm_up = vine_fail(call, 'warm_up takes a conductivity')
    return
  end if
  call%context = c_loc(conductivity)
  warm_up = 0
end function

! middle(cells, steps): both ends are held at 1, the rest begins at 0.
integer(c_int) function middle(call) bind(C)
  use vine_function
  type(vine_call), intent(inout) :: call
  real(c_double), pointer :: conductivity
  real(c_double), allocatable :: rod(:)
  integer :: cells, steps, step, problem
  character(:), allocatable :: given
  character(32) :: text
  given = vine_elements(call)
  read (given, *, iostat=problem) cells, steps
  if (problem /= 0 .or. cells < 3) then
    middle = vine_fail(call, 'middle takes cells (3 or more) and steps')
    return
  end if
  call c_f_pointer(call%context, conductivity)
  allocate (rod(cells), source=0.0_c_double)
  rod(1) = 1
  rod(cells) = 1
  do step = 1, steps
    rod(2:cells - 1) = rod(2:cells - 1) &
      + conductivity * (rod(1:cells - 2) - 2 * rod(2:cells - 1) + rod(3:cells))
  end do
  write (text, '(f14.10)') rod((cells + 1) / 2)
  middle = vine_put(call, text)
end function

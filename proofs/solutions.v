(** # Solutions of the exercises *)
From MLCPC Require Import variational_bounds.
Open Scope R_scope.

Theorem exercise_1 {A} (l : list A) (p : A -> R) : (forall a, 0 < p a) -> KL l p p = 0.
Proof.
  intros positive. unfold KL.
  (* it is enough that every summand is zero *)
  rewrite <- (sum_0 l). apply sum_ext. intros a _.
  (* p a / p a = 1, and ln 1 = 0 *)
  specialize (positive a). replace (p a / p a) with 1 by (field; lra).
  rewrite ln_1. ring.
Qed.

Theorem exercise_2 {X Y} (xs : list X) (ys : list Y) p f c : table xs ys p ->
  DV xs ys p (fun z => f z + c) = DV xs ys p f.
Proof.
  intros p_table. unfold DV.
  (* the mean of f + c under P is the mean of f, plus c *)
  rewrite (sum_ext (cells xs ys) (fun z => P p z * (f z + c)) (fun z => P p z * f z + P p z * c))
    by (intros; ring).
  rewrite sum_plus, sum_scal_r, (P_sum xs ys p p_table).
  (* e^(f + c) = e^f e^c, and the common factor leaves the sum *)
  rewrite (sum_ext (cells xs ys) (fun z => Q xs ys p z * exp (f z + c))
    (fun z => Q xs ys p z * exp (f z) * exp c)) by (intros; rewrite exp_plus; ring).
  rewrite sum_scal_r.
  (* the logarithm of a product *)
  rewrite ln_mult; [|apply mean_Q_exp_pos, p_table|apply exp_pos].
  rewrite ln_exp. ring.
Qed.

(** # Two candidates: every weight from 2/e on

The proof of Theorem 1 of the chapter *Where the bound ends*: with two candidates [Phi] is at most 1
for [alpha >= 2/e]. Induction on the letters, the largest value first; one pair of letters at a time
is enough, by an inequality in one variable. *)
From MLCPC Require Export calculus.
Open Scope R_scope.

(** One-variable inequality of the induction step. *)
Lemma step_ineq q B : 0 <= q <= 1 -> 0 < B <= 1 ->
  (1 - q) * exp (q * ln B) + q * exp ((1 - q) * (1 - B)) <= 1.
Proof.
  intros Hq [HB [HB1|HB1]].
  2:{ subst B. rewrite ln_1. replace (q * 0) with 0 by ring.
      replace ((1 - q) * (1 - 1)) with 0 by ring. rewrite exp_0. lra. }
  set (f := fun x => (1 - q) * exp (q * ln x) + q * exp ((1 - q) * (1 - x))).
  set (f' := fun x => q * (1 - q) * (exp ((1 - q) * (- ln x)) - exp ((1 - q) * (1 - x)))).
  destruct (MVT_cor2 f f' B 1 HB1) as [c [Hc Hcb]].
  { intros c Hc. apply is_derive_Reals. unfold f, f'. auto_derive; [lra|].
    replace ((1 - q) * - ln c) with (q * ln c + - ln c) by ring.
    rewrite (exp_plus (q * ln c)), exp_Ropp, exp_ln by lra.
    replace (1 - c) with (1 + - c) by ring. field. lra. }
  assert (H1 : f 1 = 1).
  { unfold f. rewrite ln_1. replace (q * 0) with 0 by ring.
    replace ((1 - q) * (1 - 1)) with 0 by ring. rewrite exp_0. lra. }
  assert (0 <= f' c).
  { unfold f'. apply Rmult_le_pos; [apply Rmult_le_pos; lra|].
    assert (exp ((1 - q) * (1 - c)) <= exp ((1 - q) * - ln c)); [|lra].
    apply exp_le, Rmult_le_compat_l; [lra|]. pose proof (ln_le_sub1 c ltac:(lra)). lra. }
  assert (0 <= f' c * (1 - B)) by (apply Rmult_le_pos; lra).
  fold (f B). lra.
Qed.

Section Pair.
Variable alpha : R.
Hypothesis alpha_lo : 2 * exp (-1) <= alpha.
Hypothesis alpha_hi : alpha <= 2.
Definition h (x y : R) : R := 2 * x / (alpha * x + (2 - alpha) * y).

Lemma alpha_23 : 2 / 3 <= alpha.
Proof.
  pose proof exp_le_3 as H3. assert (H : exp (-1) * exp 1 = 1)
    by (rewrite <- exp_plus; replace (-1 + 1) with 0 by ring; apply exp_0).
  pose proof (exp_pos (-1)). nra.
Qed.

Lemma h_den x y : 0 < x -> 0 < y -> 0 < alpha * x + (2 - alpha) * y.
Proof. pose proof alpha_23. intros. nra. Qed.

Lemma h_pos x y : 0 < x -> 0 < y -> 0 < h x y.
Proof. intros. apply Rdiv_lt_0_compat; [lra|apply h_den; assumption]. Qed.

Lemma h_diag x : 0 < x -> h x x = 1.
Proof. intros. unfold h. field. lra. Qed.

Lemma h_le1 x y : 0 < x -> x <= y -> h x y <= 1.
Proof.
  intros Hx Hy. pose proof (h_den x y Hx ltac:(lra)).
  apply Rmult_le_reg_r with (alpha * x + (2 - alpha) * y); [assumption|].
  unfold h, Rdiv. rewrite Rmult_assoc, Rinv_l by lra. nra.
Qed.

Lemma h_scale x y r : 0 < x -> 0 < y -> 0 < r -> h (r * x) (r * y) = h x y.
Proof.
  intros. unfold h. pose proof (h_den x y ltac:(assumption) ltac:(assumption)).
  field. split; [lra|]. replace (alpha * (r * x) + (2 - alpha) * (r * y))
    with (r * (alpha * x + (2 - alpha) * y)) by ring.
  assert (0 < r * (alpha * x + (2 - alpha) * y)) by (apply Rmult_lt_0_compat; assumption). lra.
Qed.

(** The pair inequality. *)
Lemma pair_ineq r : 0 < r <= 1 -> ln (h 1 r) + h r 1 <= 1.
Proof.
  intros Hr. pose proof alpha_23 as Ha.
  destruct alpha_hi as [Hlt|Heq].
  2:{ unfold h. rewrite Heq. replace (2 * 1 / (2 * 1 + (2 - 2) * r)) with 1 by field.
      replace (2 * r / (2 * r + (2 - 2) * 1)) with 1 by (field; lra). rewrite ln_1. lra. }
  set (F := fun x => ln 2 - ln (alpha + (2 - alpha) * x) + 2 * x / (alpha * x + (2 - alpha))).
  set (F' := fun x => (2 - alpha) * ((1 - x) * (alpha ^ 2 * x - ((2 - alpha) ^ 2 - 2 * alpha)))
     / ((alpha + (2 - alpha) * x) * (alpha * x + (2 - alpha)) ^ 2)).
  assert (HF : forall c, 0 <= c -> derivable_pt_lim F c (F' c)).
  { intros c Hc. apply is_derive_Reals. unfold F, F'.
    assert (0 < alpha + (2 - alpha) * c) by nra.
    assert (0 < alpha * c + (2 - alpha)) by nra.
    auto_derive; [split; [lra|lra]|]. field. split; lra. }
  assert (Hval : ln (h 1 r) + h r 1 = F r).
  { unfold F, h. rewrite !Rmult_1_r. rewrite ln_div'; [reflexivity|lra|].
    nra. }
  assert (Hden : forall c, 0 <= c -> 0 < (alpha + (2 - alpha) * c) * (alpha * c + (2 - alpha)) ^ 2).
  { intros c Hc. apply Rmult_lt_0_compat; [nra|apply pow_lt; nra]. }
  rewrite Hval.
  destruct (Rle_lt_dec ((2 - alpha) ^ 2 - 2 * alpha) (alpha ^ 2 * r)) as [Hc|Hc].
  - (* to the right of the turning point: compare with r = 1 *)
    assert (HF1 : F 1 = 1).
    { unfold F. replace (alpha + (2 - alpha) * 1) with 2 by ring.
      replace (2 * 1 / (alpha * 1 + (2 - alpha))) with 1 by (field; lra). ring. }
    destruct Hr as [Hr0 [Hr1|Hr1]]; [|rewrite Hr1; lra].
    destruct (MVT_cor2 F F' r 1 Hr1) as [c [Heq Hcb]]; [intros; apply HF; lra|].
    assert (0 <= F' c); [|nra].
    unfold F'. apply Rmult_le_pos; [|left; apply Rinv_0_lt_compat, Hden; lra].
    apply Rmult_le_pos; [lra|]. apply Rmult_le_pos; [lra|].
    assert (alpha ^ 2 * r <= alpha ^ 2 * c) by (apply Rmult_le_compat_l; nra). lra.
  - (* to the left: compare with r = 0 *)
    assert (HF0 : F 0 <= 1).
    { unfold F. replace (2 * 0 / (alpha * 0 + (2 - alpha))) with 0 by (field; lra).
      replace (alpha + (2 - alpha) * 0) with alpha by ring.
      assert (Hl : ln (2 * exp (-1)) <= ln alpha)
        by (apply ln_le'; [pose proof (exp_pos (-1)); lra|assumption]).
      rewrite ln_mult, ln_exp in Hl by (first [apply exp_pos | lra]). clear - Hl. lra. }
    destruct (MVT_cor2 F F' 0 r ltac:(lra)) as [c [Heq Hcb]]; [intros; apply HF; lra|].
    assert (F' c <= 0); [|nra].
    unfold F'. unfold Rdiv.
    assert (0 <= (2 - alpha) * ((1 - c) * - (alpha ^ 2 * c - ((2 - alpha) ^ 2 - 2 * alpha)))).
    { apply Rmult_le_pos; [lra|]. apply Rmult_le_pos; [lra|].
      assert (alpha ^ 2 * c <= alpha ^ 2 * r) by (apply Rmult_le_compat_l; nra). lra. }
    assert (0 < / ((alpha + (2 - alpha) * c) * (alpha * c + (2 - alpha)) ^ 2))
      by (apply Rinv_0_lt_compat, Hden; lra).
    nra.
Qed.

Corollary pair_ineq' x y : 0 < x -> x <= y -> ln (h y x) <= 1 - h x y.
Proof.
  intros Hx Hy. pose proof (pair_ineq (x / y)) as H.
  rewrite <- (h_scale 1 (x / y) y), <- (h_scale (x / y) 1 y) in H;
    try lra; try (apply Rdiv_lt_0_compat; lra).
  replace (y * 1) with y in H by ring. replace (y * (x / y)) with x in H by (field; lra).
  assert (0 < x / y <= 1); [|specialize (H H0); lra].
  split; [apply Rdiv_lt_0_compat; lra|].
  apply Rmult_le_reg_r with y; [lra|]. unfold Rdiv. rewrite Rmult_assoc, Rinv_l; lra.
Qed.

(** Induction over atoms, largest value first. *)
Section Atoms.
Context {A : Type}.
Variables (w u : A -> R).
Hypothesis w_nonneg : forall a, 0 <= w a.
Hypothesis u_pos : forall a, 0 < u a.

Definition Psi (l : list A) : R :=
  sum l (fun i => w i * exp (sum l (fun j => w j * ln (h (u i) (u j))) / sum l w)).

Lemma Psi_perm l l' : Permutation l l' -> Psi l = Psi l'.
Proof.
  intros H. unfold Psi. rewrite (sum_perm l l' _ H). apply sum_ext; intros a _.
  rewrite (sum_perm l l' w H), (sum_perm l l' _ H). reflexivity.
Qed.

Lemma extract_max (a : A) l :
  exists v r, Permutation (a :: l) (v :: r) /\ forall x, In x r -> u x <= u v.
Proof.
  revert a; induction l as [|b l IH]; intros a.
  - exists a, nil. split; [reflexivity|intros x []].
  - destruct (IH b) as (v & r & Hp & Hm).
    destruct (Rle_lt_dec (u a) (u v)) as [Hav|Hav].
    + exists v, (a :: r). split; [rewrite Hp; apply perm_swap|].
      intros x [<-|Hx]; [exact Hav|apply Hm, Hx].
    + exists a, (v :: r). split; [rewrite Hp; reflexivity|].
      intros x [<-|Hx]; [lra|specialize (Hm x Hx); lra].
Qed.

Lemma Psi_step v r : (forall x, In x r -> u x <= u v) -> Psi r <= sum r w ->
  Psi (v :: r) <= sum (v :: r) w.
Proof.
  intros Hmax IH. unfold Psi. simpl.
  set (W' := sum r w) in *. set (W := w v + W').
  assert (Hw0 : 0 <= W') by (apply sum_nonneg; auto).
  rewrite (h_diag (u v) (u_pos v)), ln_1, Rmult_0_r, Rplus_0_l.
  destruct Hw0 as [HW'|HW'].
  2:{ assert (Hz : forall i, In i r -> w i = 0)
        by (apply sum_nonneg_0; [auto|symmetry; exact HW']).
      rewrite (sum_ext r (fun j => w j * ln (h (u v) (u j))) (fun _ => 0))
        by (intros j Hj; rewrite (Hz j Hj); ring).
      rewrite sum_0. unfold Rdiv. rewrite Rmult_0_l, exp_0.
      assert (Hr : forall F : A -> R, sum r (fun i => w i * F i) = 0).
      { intros F. rewrite <- (sum_0 r). apply sum_ext; intros j Hj. rewrite (Hz j Hj). ring. }
      rewrite Hr. unfold W. lra. }
  pose proof (w_nonneg v) as Hwv.
  assert (HW : 0 < W) by (unfold W; lra).
  set (q := w v / W).
  assert (Hq : 0 <= q <= 1).
  { split; [apply Rmult_le_pos; [exact Hwv|left; apply Rinv_0_lt_compat, HW]|].
    apply Rmult_le_reg_r with W; [exact HW|]. unfold q, Rdiv.
    rewrite Rmult_assoc, Rinv_l by lra. unfold W. lra. }
  assert (Hq1 : (1 - q) * W = W') by (unfold q, W; field; fold W; lra).
  assert (Hq2 : q * W = w v) by (unfold q; field; lra).
  set (b := fun i => h (u i) (u v)).
  assert (Hb : forall i, 0 < b i) by (intros; apply h_pos; apply u_pos).
  set (B := sum r (fun i => w i * b i) / W').
  assert (HBW : sum r (fun i => w i * b i) = B * W') by (unfold B; field; lra).
  assert (Hwb : forall i, In i r -> 0 <= w i * b i)
    by (intros; apply Rmult_le_pos; [apply w_nonneg|left; apply Hb]).
  assert (HB : 0 < B <= 1).
  { split.
    - apply Rdiv_lt_0_compat; [|exact HW'].
      destruct (sum_nonneg r _ Hwb) as [H|H]; [exact H|exfalso].
      assert (W' = 0); [|lra]. unfold W'. rewrite <- (sum_0 r).
      apply sum_ext; intros i Hi.
      pose proof (sum_nonneg_0 r _ Hwb (eq_sym H) i Hi) as H0. simpl in H0.
      apply Rmult_integral in H0. destruct H0 as [H0|H0]; [exact H0|].
      pose proof (Hb i); lra.
    - apply Rmult_le_reg_r with W'; [exact HW'|]. rewrite <- HBW, Rmult_1_l.
      apply sum_le; intros i Hi. rewrite <- (Rmult_1_r (w i)) at 2.
      apply Rmult_le_compat_l; [apply w_nonneg|].
      apply h_le1; [apply u_pos|apply Hmax, Hi]. }
  (* the new atom *)
  assert (Hv : w v * exp (sum r (fun j => w j * ln (h (u v) (u j))) / W)
     <= w v * exp ((1 - q) * (1 - B))).
  { apply Rmult_le_compat_l; [exact Hwv|]. apply exp_le.
    apply Rmult_le_reg_r with W; [exact HW|].
    unfold Rdiv. rewrite Rmult_assoc, Rinv_l, Rmult_1_r by lra.
    replace ((1 - q) * (1 - B) * W) with (W' - B * W') by (rewrite <- Hq1; ring).
    rewrite <- HBW. unfold W'. rewrite <- sum_minus.
    apply sum_le; intros j Hj.
    replace (w j - w j * b j) with (w j * (1 - b j)) by ring.
    apply Rmult_le_compat_l; [apply w_nonneg|].
    apply pair_ineq'; [apply u_pos|apply Hmax, Hj]. }
  (* the old atoms *)
  assert (Ho : sum r (fun i => w i * exp ((w v * ln (h (u i) (u v)) +
       sum r (fun j => w j * ln (h (u i) (u j)))) / W))
     <= W' * exp (q * ln B)).
  { set (a := fun i => sum r (fun j => w j * ln (h (u i) (u j))) / W').
    apply Rle_trans with (sum r (fun i => exp (q * ln B) *
       ((1 - q) * (w i * exp (a i)) + q / B * (w i * b i)))).
    - apply sum_le; intros i Hi.
      replace ((w v * ln (h (u i) (u v)) + sum r (fun j => w j * ln (h (u i) (u j)))) / W)
        with (q * ln B + ((1 - q) * a i + q * ln (b i / B))).
      2:{ rewrite ln_div' by (try apply Hb; lra). fold (b i).
          assert (Hq3 : 1 - q = W' / W) by (unfold q, W; field; fold W; lra).
          rewrite Hq3. unfold a, q. field. lra. }
      rewrite exp_plus.
      assert (Hy := young q (a i) (b i / B) Hq ltac:(apply Rdiv_lt_0_compat; [apply Hb|lra])).
      replace (exp (q * ln B) * ((1 - q) * (w i * exp (a i)) + q / B * (w i * b i)))
        with (w i * (exp (q * ln B) * ((1 - q) * exp (a i) + q * (b i / B)))) by (field; lra).
      apply Rmult_le_compat_l; [apply w_nonneg|].
      apply Rmult_le_compat_l; [left; apply exp_pos|exact Hy].
    - rewrite sum_scal, sum_plus, !sum_scal, HBW.
      rewrite (Rmult_comm W'). apply Rmult_le_compat_l; [left; apply exp_pos|].
      replace (q / B * (B * W')) with (q * W') by (field; lra).
      assert ((1 - q) * sum r (fun i => w i * exp (a i)) <= (1 - q) * W'); [|lra].
      apply Rmult_le_compat_l; [lra|exact IH]. }
  pose proof (step_ineq q B Hq HB) as Hs.
  apply Rmult_le_compat_r with (r := W) in Hs; [|lra].
  replace (((1 - q) * exp (q * ln B) + q * exp ((1 - q) * (1 - B))) * W)
    with (W' * exp (q * ln B) + w v * exp ((1 - q) * (1 - B))) in Hs
    by (rewrite <- Hq1, <- Hq2; ring).
  lra.
Qed.

Theorem Psi_le l : Psi l <= sum l w.
Proof.
  remember (length l) as n eqn:Hn. revert l Hn.
  induction n as [|n IH]; intros l Hn.
  - destruct l; [|discriminate]. unfold Psi; simpl; lra.
  - destruct l as [|a l]; [discriminate|].
    destruct (extract_max a l) as (v & r & Hp & Hm).
    rewrite (Psi_perm _ _ Hp), (sum_perm _ _ w Hp).
    apply Psi_step; [exact Hm|apply IH].
    apply Permutation_length in Hp. simpl in Hp, Hn. lia.
Qed.
End Atoms.
End Pair.
